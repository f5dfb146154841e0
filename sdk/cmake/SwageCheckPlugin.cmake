# Run on every plugin after it is linked: -DFILE=… -DNM=… -DREADELF=…
execute_process(COMMAND ${NM} -D --defined-only ${FILE} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" symbols "${symbols}")
list(FILTER symbols EXCLUDE REGEX " T swage_plugin_v1$")
if(symbols)
  string(REPLACE ";" "\n  " symbols "${symbols}")
  message(FATAL_ERROR "${FILE} exports more than swage_plugin_v1:\n  ${symbols}\n"
    "build it with swage_add_plugin() and without __attribute__((visibility(\"default\")))")
endif()

execute_process(COMMAND ${READELF} -d ${FILE} OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "Shared library: .[^]\n]+" needed "${dynamic}")
foreach(pair IN ITEMS "omp5?=a second OpenMP runtime" "iomp5=a second OpenMP runtime" "openblas[a-z0-9]*=a second BLAS" "blas=a second BLAS"
    "lapack=a second LAPACK" "mkl_[a-z0-9_]+=a second MKL")
  string(REGEX REPLACE "=.*" "" library "${pair}")
  string(REGEX REPLACE "^[^=]*=" "" reason "${pair}")
  if(needed MATCHES ".lib${library}\\.so")
    message(FATAL_ERROR "${FILE} links lib${library}: ${reason} in the process of LibTorch; use LibTorch's")
  endif()
endforeach()
if(NOT needed MATCHES "libstdc\\+\\+\\.so|libc\\+\\+\\.so")
  message(FATAL_ERROR "${FILE} links no shared C++ library; do not use -static-libstdc++")
endif()
