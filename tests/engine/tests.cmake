# Runs take the plugins of this build, some the command itself, and some plugins that fail.
add_dependencies(engine_tests runtime abi_good abi_liar abi_thrower abi_throws_at_load abi_wrong_torch abi_wrong_sanitizer
  abi_newer_minor abi_other_name abi_pair)
