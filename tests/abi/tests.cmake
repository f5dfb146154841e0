# Plugins that a host must refuse or survive. Each lies in a folder of its own, so that a test sees no other.
set(abi_folder ${CMAKE_BINARY_DIR}/abi)
set(abi_sources ${CMAKE_CURRENT_LIST_DIR}/plugins)
set(abi_targets)
set(abi_sanitized 0)
if(SWAGE_SANITIZE)
  set(abi_sanitized 1)
endif()

function(abi_place name)
  set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${abi_folder}/${name})
  list(APPEND abi_targets ${name})
  set(abi_targets ${abi_targets} PARENT_SCOPE)
endfunction()

# A plugin made as it should be, of a manifest with one component.
function(abi_plugin name kind component interface)
  file(CONFIGURE OUTPUT ${abi_folder}/${name}.plugin.toml @ONLY CONTENT
"id = \"@name@\"
version = \"1.0.0\"
summary = \"A test.\"
[[component]]
kind = \"@kind@\"
name = \"@component@\"
interface = \"@interface@\"
summary = \"A test.\"
")
  swage_add_plugin(${name} MANIFEST ${abi_folder}/${name}.plugin.toml SOURCES ${ARGN})
  abi_place(${name})
  set(abi_targets ${abi_targets} PARENT_SCOPE)
endfunction()

add_library(abi_objects OBJECT ${abi_sources}/good.cc)
target_link_libraries(abi_objects PRIVATE swage::sdk)
swage_use_pch(abi_objects)
set(good $<TARGET_OBJECTS:abi_objects>)

abi_plugin(abi_good algorithm good algorithm/2 ${good})
abi_plugin(abi_older algorithm good algorithm/2 ${good})
abi_plugin(abi_wrong_torch algorithm good algorithm/2 ${good})
target_compile_definitions(abi_wrong_torch PRIVATE SWAGE_TORCH_VERSION="2.10.0")
abi_plugin(abi_newer_minor algorithm good algorithm/2 ${good})
target_compile_definitions(abi_newer_minor PRIVATE SWAGE_INTERFACE_VERSION="1.7")
abi_plugin(abi_newer_major algorithm good algorithm/2 ${good})
target_compile_definitions(abi_newer_major PRIVATE SWAGE_INTERFACE_VERSION="2.0")
abi_plugin(abi_wrong_std algorithm good algorithm/2 ${good})
set_target_properties(abi_wrong_std PROPERTIES CXX_STANDARD 20)
# The descriptor alone says so: linking a real one would need the sanitizer's library.
abi_plugin(abi_wrong_sanitizer algorithm good algorithm/2 ${good})
target_compile_options(abi_wrong_sanitizer PRIVATE
  $<IF:${abi_sanitized},-fno-sanitize=all,-D__SANITIZE_ADDRESS__=1>)
abi_plugin(abi_other_name algorithm gone algorithm/2 ${good})
abi_plugin(abi_no_component algorithm good algorithm/2 ${abi_sources}/empty.cc)
abi_plugin(abi_throws_at_load algorithm good algorithm/2 ${good} ${abi_sources}/throws_at_load.cc)
abi_plugin(abi_crashes_at_load algorithm good algorithm/2 ${good} ${abi_sources}/crashes_at_load.cc)
abi_plugin(abi_exits_at_load algorithm good algorithm/2 ${good} ${abi_sources}/exits_at_load.cc)
abi_plugin(abi_talks_at_load algorithm good algorithm/2 ${good} ${abi_sources}/talks_at_load.cc)
swage_add_plugin(abi_thrower MANIFEST ${abi_sources}/thrower.plugin.toml SOURCES ${abi_sources}/thrower.cc)
swage_use_pch(abi_thrower)
abi_place(abi_thrower)
abi_plugin(abi_undefined algorithm good algorithm/2 ${good} ${abi_sources}/undefined.cc)
target_link_options(abi_undefined PRIVATE LINKER:-z,undefs)

swage_add_plugin(abi_liar MANIFEST ${abi_sources}/liar.plugin.toml SOURCES ${abi_sources}/liar.cc)
swage_use_pch(abi_liar)
abi_place(abi_liar)
swage_add_plugin(abi_pair MANIFEST ${abi_sources}/pair.plugin.toml SOURCES ${good} ${abi_sources}/second.cc)
swage_use_pch(abi_pair)
abi_place(abi_pair)

# One plugin for all that can go wrong in calls: `fault` names what does.
set(faulty ${abi_sources}/faulty_step.cc ${abi_sources}/faulty_measure.cc ${abi_sources}/faulty_format.cc
  ${abi_sources}/faulty_codec.cc ${abi_sources}/faulty_model.cc)
swage_add_plugin(abi_faults MANIFEST ${abi_sources}/faults.plugin.toml SOURCES ${faulty})
target_include_directories(abi_faults PRIVATE ${PROJECT_SOURCE_DIR})
swage_use_pch(abi_faults)
abi_place(abi_faults)
# Opening it turns denormals off.
abi_plugin(abi_fast_math algorithm good algorithm/2 ${good})
target_link_options(abi_fast_math PRIVATE -ffast-math)

# Made by hand, past swage_add_plugin().
function(abi_raw name source)
  add_library(${name} MODULE ${source})
  target_link_libraries(${name} PRIVATE swage::sdk)
  target_compile_definitions(${name} PRIVATE ${ARGN})
  set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX ".swage.so")
  abi_place(${name})
  set(abi_targets ${abi_targets} PARENT_SCOPE)
endfunction()
foreach(case IN ITEMS Null Minor OlderMinor Major Id Version Fingerprint NoCreate MakesNothing NoMessage)
  abi_raw(abi_raw_${case} ${abi_sources}/raw.cc RAW_CASE=k${case})
endforeach()
abi_raw(abi_raw_NoSymbol ${abi_sources}/raw.cc RAW_CASE=kNull RAW_NO_SYMBOL)
abi_raw(abi_no_notes ${abi_sources}/exports.cc)
# swage_add_plugin() would not build these.
abi_raw(abi_older_interface ${abi_sources}/raw.cc RAW_CASE=kNull RAW_INTERFACE="algorithm/1")
abi_raw(abi_newer_interface ${abi_sources}/raw.cc RAW_CASE=kNull RAW_INTERFACE="algorithm/3")
abi_raw(abi_frozen ${CMAKE_CURRENT_LIST_DIR}/v1_frozen/plugin.cc SWAGE_INTERFACE_VERSION="1.0")
target_include_directories(abi_frozen PRIVATE ${PROJECT_SOURCE_DIR})

swage_add_tests(abi abi swage_engine)
# What the command needs for runs of a small Llama.
add_dependencies(abi_tests ${abi_targets} swage-probe swage swage-engine llama rtn gptq quarot perplexity compressed_tensors)
target_compile_definitions(abi_tests PRIVATE ABI_FOLDER="${abi_folder}" ABI_CMAKE="${CMAKE_COMMAND}"
  ABI_CHECK="-DNM=${CMAKE_NM} -DREADELF=${CMAKE_READELF}" ABI_HOST_SANITIZED=${abi_sanitized})
