# Configuration and command line. cli_test.cc runs the command itself.
swage_add_tests(config unit swage_core)
add_dependencies(config_tests swage)
