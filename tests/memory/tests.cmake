# Peak memory does not grow with the number of blocks. Of experts, the heap has settled at eight layers, not yet at four.
foreach(sizes IN ITEMS "dense 4 8" "experts 8 16")
  string(REPLACE " " ";" arguments ${sizes})
  list(GET arguments 0 kind)
  add_test(NAME memory_${kind} COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/check.py ${arguments})
  set_tests_properties(memory_${kind} PROPERTIES LABELS memory TIMEOUT 1800 COST 100
    ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT};PYTHONDONTWRITEBYTECODE=1")
endforeach()
