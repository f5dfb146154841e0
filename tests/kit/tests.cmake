# Cases on WikiText-2 and SmolLM2 have an entry and a label of their own; without the files they skip by name.
add_test(NAME kit_model COMMAND kit_tests --gtest_filter=*SmolLM2*)
set_tests_properties(kit_model PROPERTIES LABELS model ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}")
# JSON whose members keep their order, as templates see them.
target_link_libraries(kit_tests PRIVATE nlohmann_json::nlohmann_json)
# The loops over rows, which the library hides, with their plain versions.
set(kernels ${PROJECT_SOURCE_DIR}/sdk/src/quant/kernels.cc ${PROJECT_SOURCE_DIR}/sdk/src/quant/kernels_plain.cc)
set_source_files_properties(${kernels} PROPERTIES COMPILE_OPTIONS "-ffp-contract=off;-O3" SKIP_PRECOMPILE_HEADERS ON)
target_sources(kit_tests PRIVATE ${kernels})
target_include_directories(kit_tests PRIVATE ${PROJECT_SOURCE_DIR}/sdk/src)
target_link_libraries(kit_tests PRIVATE PkgConfig::hwy)
