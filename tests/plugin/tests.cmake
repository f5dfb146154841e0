# The one part of a plugin that tests reach into: its fast loops beside their plain versions.
target_sources(plugin_tests PRIVATE ${PROJECT_SOURCE_DIR}/backends/compressed_tensors/packing.cc)
add_dependencies(plugin_tests runtime)
