# swage_add_plugin(name MANIFEST name.plugin.toml SOURCES a.cc …)
# A plugin file <name>.swage.so: carries its manifest and its ABI fingerprint as ELF notes, exports swage_plugin_v1 and
# nothing else, links swage::sdk. Works in the tree and from find_package(swage).
set(SWAGE_PLUGIN_CMAKE_DIR ${CMAKE_CURRENT_LIST_DIR} CACHE INTERNAL "")

function(swage_add_plugin name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "MANIFEST" "SOURCES")
  if(NOT arg_MANIFEST OR NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "usage: swage_add_plugin(name MANIFEST name.plugin.toml SOURCES a.cc …); got ${ARGN}")
  endif()
  get_filename_component(manifest ${arg_MANIFEST} ABSOLUTE)
  swage_generate_descriptor(${name} ${manifest} descriptor)

  add_library(${name} MODULE ${arg_SOURCES} ${descriptor})
  target_link_libraries(${name} PRIVATE swage::sdk)
  set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX ".swage.so" CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF)
  set(map ${SWAGE_PLUGIN_CMAKE_DIR}/swage_plugin.map)
  set_property(TARGET ${name} APPEND PROPERTY LINK_DEPENDS ${map})
  target_link_options(${name} PRIVATE LINKER:-z,now,-z,nodelete,--build-id=sha1,--version-script=${map}
    $<$<NOT:$<BOOL:${SWAGE_FUZZ}>>:LINKER:-z,defs>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # at::parallel_for is serial without it. clang's -fopenmp would bring a second OpenMP runtime.
    target_compile_options(${name} PRIVATE -fopenmp)
    target_link_options(${name} PRIVATE -fopenmp)
  endif()
  add_custom_command(TARGET ${name} POST_BUILD VERBATIM
    COMMAND ${CMAKE_COMMAND} -DFILE=$<TARGET_FILE:${name}> -DNM=${CMAKE_NM} -DREADELF=${CMAKE_READELF}
      -P ${SWAGE_PLUGIN_CMAKE_DIR}/SwageCheckPlugin.cmake)
endfunction()

# Source file with the notes and the entry point, made of the manifest by the parser that will read it in the plugin.
function(swage_generate_descriptor name manifest out)
  set(cuda none)
  if(LibTorch_CUDA_VERSION)
    set(cuda ${LibTorch_CUDA_VERSION})
  endif()
  set(file ${CMAKE_CURRENT_BINARY_DIR}/${name}.descriptor.cc)
  add_custom_command(OUTPUT ${file} COMMAND swage::manifest ${manifest} ${file} ${cuda}
    DEPENDS ${manifest} swage::manifest COMMENT "Reading ${name}.plugin.toml" VERBATIM)
  set(${out} ${file} PARENT_SCOPE)
endfunction()
