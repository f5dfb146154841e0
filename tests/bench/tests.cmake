# Benchmarks: `build/release/bin/swage_bench`. The plain version of every hot loop stands beside the fast one.
file(GLOB bench_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cc)
add_executable(swage_bench ${bench_sources})
target_include_directories(swage_bench PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(swage_bench PRIVATE swage::sdk benchmark::benchmark_main)
swage_use_pch(swage_bench)
