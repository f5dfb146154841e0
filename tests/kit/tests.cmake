# Cases on WikiText-2 and SmolLM2 have an entry and a label of their own; without the files they skip by name.
add_test(NAME kit_model COMMAND kit_tests --gtest_filter=*SmolLM2*)
set_tests_properties(kit_model PROPERTIES LABELS model ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}")
# JSON whose members keep their order, as templates see them.
target_link_libraries(kit_tests PRIVATE nlohmann_json::nlohmann_json)
