# Runs take the plugins of this build, some the command itself, and some plugins that fail.
add_dependencies(engine_tests runtime abi_good abi_liar abi_thrower abi_throws_at_load abi_wrong_torch abi_wrong_sanitizer
  abi_newer_minor abi_other_name abi_pair)
# Under a sanitizer what reads corrupted checkpoints, without the plugins that it has no use for.
if(SWAGE_SANITIZE AND NOT SWAGE_FUZZ)
  add_executable(flips_tests ${CMAKE_CURRENT_LIST_DIR}/flips_test.cc)
  target_link_libraries(flips_tests PRIVATE swage_engine GTest::gmock GTest::gtest_main)
  target_include_directories(flips_tests PRIVATE ${PROJECT_SOURCE_DIR})
  swage_use_pch(flips_tests)
  add_dependencies(flips_tests llama rtn compressed_tensors gptq_export awq_export auto_round modelopt)
  add_test(NAME flips COMMAND flips_tests)
  set_tests_properties(flips PROPERTIES LABELS flips ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}")
endif()
