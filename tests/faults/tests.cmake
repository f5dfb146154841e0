# Runs killed at random instants and continued. SWAGE_FAULT_RUNS sets how many of them.
swage_add_tests(faults faults)
add_dependencies(faults_tests runtime)
set_tests_properties(faults PROPERTIES TIMEOUT 3600
  ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT};GTEST_FILTER=-*SmolLm2*")
add_test(NAME faults-model COMMAND faults_tests)
set_tests_properties(faults-model PROPERTIES LABELS "faults;model" TIMEOUT 7200
  ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT};GTEST_FILTER=*SmolLm2*")
