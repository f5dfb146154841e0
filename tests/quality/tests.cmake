# Perplexities of a whole recipe on a real model, with SWAGE_QUALITY=1 of three: minutes on one thread, begun first.
# Without the model it skips by name.
add_test(NAME quality COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/check.py)
set_tests_properties(quality PROPERTIES LABELS model TIMEOUT 3600 SKIP_RETURN_CODE 77 COST 1000
  ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT};PYTHONDONTWRITEBYTECODE=1")
add_test(NAME quality_gguf COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/gguf.py)
set_tests_properties(quality_gguf PROPERTIES LABELS model TIMEOUT 3600 SKIP_RETURN_CODE 77 COST 50
  ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT};PYTHONDONTWRITEBYTECODE=1")
