# Other programs read what Swage exports: transformers with compressed-tensors, and vLLM. Each in its own virtual
# environment under .cache/readers, made at the first run (5 GB and under a minute each); where one cannot be made, its
# entries skip and say why. They keep both cores busy, and vLLM binds its threads to cores.
if(SWAGE_SANITIZE OR SWAGE_FUZZ)
  return()
endif()
foreach(entry IN ITEMS transformers-small transformers-model vllm-model)
  string(REPLACE "-" ";" arguments ${entry})
  add_test(NAME readers/${entry} COMMAND ${CMAKE_CURRENT_LIST_DIR}/read.sh ${arguments})
  set_tests_properties(readers/${entry} PROPERTIES LABELS readers ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}"
    SKIP_RETURN_CODE 77 RUN_SERIAL TRUE TIMEOUT 1800)
endforeach()
