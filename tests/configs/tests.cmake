# Every recipe of configs/ runs on a small model: a byte-level tokenizer over the parity model `llama`.
file(GLOB_RECURSE recipes CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/configs ${PROJECT_SOURCE_DIR}/configs/*.toml)
foreach(recipe IN LISTS recipes)
  add_test(NAME configs/${recipe} COMMAND ${CMAKE_CURRENT_LIST_DIR}/run_recipe.sh ${recipe})
  set_tests_properties(configs/${recipe} PROPERTIES LABELS engine ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}")
endforeach()
