# Runs killed at random instants and continued. SWAGE_FAULT_RUNS sets how many of each recipe; 13 are some 300 kills.
swage_add_tests(faults faults swage::sdk)
target_include_directories(faults_tests PRIVATE ${CMAKE_CURRENT_LIST_DIR})
add_dependencies(faults_tests runtime)
set_tests_properties(faults PROPERTIES TIMEOUT 3600
  ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT};GTEST_FILTER=-*SmolLm2*")
add_test(NAME faults-model COMMAND faults_tests)
set_tests_properties(faults-model PROPERTIES LABELS "faults;model" TIMEOUT 7200
  ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT};GTEST_FILTER=*SmolLm2*")
