#!/bin/sh
# tidy.sh FILE FLAG…: clang-tidy on one file that includes every header. Skips where clang-tidy 14 is not installed.
set -eu
file=$1
shift
command -v clang-tidy-14 >/dev/null || { echo "skipped: there is no clang-tidy-14"; exit 77; }
cd "$SWAGE_SOURCE_DIR"
# Value is made of what it holds without a word: a table reads as {{"bits", 4}}.
clang-tidy-14 --quiet --checks=-google-explicit-constructor "$file" -- -std=c++17 -DBOOST_DLL_USE_STD_FS "$@"
