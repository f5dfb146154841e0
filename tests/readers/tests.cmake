# Other programs read what Swage exports: transformers with compressed-tensors, vLLM, llama.cpp. Each in its own virtual
# environment under .cache/readers, made at the first run (5 GB and under a minute each); where one cannot be made, its
# entries skip and say why. vLLM binds its threads to cores and wants them for itself.
if(SWAGE_SANITIZE OR SWAGE_FUZZ)
  return()
endif()
foreach(entry IN ITEMS transformers-small transformers-model vllm-model gguf-small gguf-model gguf-families)
  string(REPLACE "-" ";" arguments ${entry})
  add_test(NAME readers/${entry} COMMAND ${CMAKE_CURRENT_LIST_DIR}/read.sh ${arguments})
  set_tests_properties(readers/${entry} PROPERTIES LABELS readers ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}"
    SKIP_RETURN_CODE 77 RESOURCE_LOCK readers COST 300 TIMEOUT 1800)
endforeach()
set_tests_properties(readers/vllm-model PROPERTIES RUN_SERIAL TRUE)
