# Other programs read what Swage exports: transformers with compressed-tensors, vLLM, llama.cpp, and hqq, bitsandbytes and
# MLX (misc). Each in its own virtual
# environment under .cache/readers, made at the first run (5 GB and under a minute each); where one cannot be made, its
# entries skip and say why. vLLM binds its threads to cores and wants them for itself.
if(SWAGE_SANITIZE OR SWAGE_FUZZ)
  return()
endif()
foreach(entry IN ITEMS transformers-small transformers-small-decode_gptq transformers-small-with_layouts
    transformers-small-with_fp8 transformers-model vllm-model gguf-small gguf-model gguf-small-gguf_fits)
  string(REPLACE "-" ";" arguments ${entry})
  add_test(NAME readers/${entry} COMMAND ${CMAKE_CURRENT_LIST_DIR}/read.sh ${arguments})
  set_tests_properties(readers/${entry} PROPERTIES LABELS readers ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}"
    SKIP_RETURN_CODE 77 RESOURCE_LOCK readers COST 300 TIMEOUT 1800)
endforeach()
# What takes too long beside everything else: `ctest -L readers-long`, and not without that label.
foreach(entry IN ITEMS gptqmodel-small transformers-model-with_fp8 misc-small misc-model transformers-model-with_floats
    gguf-families gguf-model-gguf_fits)
  string(REPLACE "-" ";" arguments ${entry})
  add_test(NAME readers/${entry} COMMAND ${CMAKE_CURRENT_LIST_DIR}/read.sh ${arguments})
  set_tests_properties(readers/${entry} PROPERTIES LABELS readers-long ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}"
    SKIP_RETURN_CODE 77 RESOURCE_LOCK readers COST 300 TIMEOUT 3600)
endforeach()
set_tests_properties(readers/vllm-model PROPERTIES RUN_SERIAL TRUE)

# What an engine profile says of ten checkpoints is what vLLM does: most of a minute each.
add_test(NAME readers/vllm-contract COMMAND ${CMAKE_CURRENT_LIST_DIR}/read.sh vllm small with_vllm_contract)
set_tests_properties(readers/vllm-contract PROPERTIES LABELS readers-long ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}"
  SKIP_RETURN_CODE 77 RESOURCE_LOCK readers RUN_SERIAL TRUE TIMEOUT 1800)
# Those of tools that CI does not install.
foreach(kind IN ITEMS small model)
  add_test(NAME readers/modelopt-${kind} COMMAND ${CMAKE_CURRENT_LIST_DIR}/read.sh modelopt ${kind})
  set_tests_properties(readers/modelopt-${kind} PROPERTIES LABELS readers-long ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}"
    SKIP_RETURN_CODE 77 RESOURCE_LOCK readers COST 300 TIMEOUT 1800)
endforeach()
