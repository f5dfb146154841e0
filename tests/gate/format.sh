#!/bin/sh
# Every source file is as .clang-format says. Skips where clang-format 14 is not installed: others break lines elsewhere.
set -eu
cd "$SWAGE_SOURCE_DIR"
command -v clang-format-14 >/dev/null || { echo "skipped: there is no clang-format-14"; exit 77; }
find core sdk plugins models backends evaluators tests \( -name '*.cc' -o -name '*.h' -o -name '*.cu' \) -print0 |
  xargs -0 clang-format-14 --dry-run --Werror
