# Installs what was built into an empty folder, builds an algorithm outside of the tree against it, and runs it.
# A host with a sanitizer refuses plugins without one, so this needs a plain build.
if(SWAGE_SANITIZE OR SWAGE_FUZZ)
  return()
endif()
add_test(NAME install COMMAND ${CMAKE_CURRENT_LIST_DIR}/consume.sh ${CMAKE_COMMAND} ${CMAKE_CXX_COMPILER}
  ${CMAKE_GENERATOR})
set_tests_properties(install PROPERTIES LABELS install ENVIRONMENT "${SWAGE_TEST_ENVIRONMENT}")
