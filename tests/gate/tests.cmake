# What no compiler sees: how files are written, how built ones may be loaded.
if(SWAGE_SANITIZE OR SWAGE_FUZZ)
  return()
endif()
set(gate ${CMAKE_CURRENT_LIST_DIR})
add_test(NAME gate/format COMMAND ${gate}/format.sh)
add_test(NAME gate/manifest COMMAND ${gate}/manifest.sh $<TARGET_FILE:swage-manifest>)
add_test(NAME gate/elf COMMAND python3 ${gate}/elf.py ${CMAKE_BINARY_DIR}/bin ${CMAKE_BINARY_DIR}/lib
  ${CMAKE_BINARY_DIR}/libexec ${CMAKE_BINARY_DIR}/abi)

# One file that includes every header: each is read once.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/sdk/include/swage/*.h
  ${PROJECT_SOURCE_DIR}/core/*.h)
set(text "")
foreach(header IN LISTS headers)
  string(REGEX REPLACE "^sdk/include/" "" header ${header})
  string(APPEND text "#include \"${header}\"\n")
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/gate/headers.cc CONTENT "${text}")
set(folders "$<TARGET_PROPERTY:LibTorch::cpu,INTERFACE_INCLUDE_DIRECTORIES>")
add_test(NAME gate/tidy COMMAND ${gate}/tidy.sh ${CMAKE_BINARY_DIR}/gate/headers.cc -I${PROJECT_SOURCE_DIR}
  -I${PROJECT_SOURCE_DIR}/sdk/include "-isystem$<JOIN:${folders},;-isystem>" COMMAND_EXPAND_LISTS)
set_tests_properties(gate/format gate/elf gate/tidy PROPERTIES LABELS gate ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}"
  SKIP_RETURN_CODE 77)
