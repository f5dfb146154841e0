__attribute__((visibility("default"))) int swage_test_leaks_out() { return 1; }
