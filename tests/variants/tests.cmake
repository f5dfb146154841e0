# Random configurations of every family, held against transformers: a minute.
if(SWAGE_SANITIZE OR SWAGE_FUZZ)
  return()
endif()
add_test(NAME variants COMMAND ${CMAKE_CURRENT_LIST_DIR}/run.sh 4)
set_tests_properties(variants PROPERTIES LABELS readers ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}" SKIP_RETURN_CODE 77
  RESOURCE_LOCK readers COST 200 TIMEOUT 1800)
