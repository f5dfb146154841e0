# The same bytes whatever threads and micro-batch: a covering sample, and with SWAGE_MATRIX=1 all models × recipes ×
# compute types (an hour and more).
add_test(NAME matrix COMMAND ${CMAKE_CURRENT_LIST_DIR}/matrix.sh)
set_tests_properties(matrix PROPERTIES LABELS matrix TIMEOUT 14400 COST 100
  ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT};PYTHONDONTWRITEBYTECODE=1")
