#!/bin/sh
# read.sh READER MODEL [SCRIPT]: lets one reader read what Swage exports of `small` (a toy) or `model` (SWAGE_TEST_MODEL).
# SCRIPT: another one that works in the reader's environment.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "skipped: $*"; exit 77; }

if [ "$2" = model ]; then
  [ -n "${SWAGE_TEST_MODEL:-}" ] || skip "SWAGE_TEST_MODEL names no checkpoint folder"
  [ -n "${SWAGE_TEST_DATA:-}" ] || skip "SWAGE_TEST_DATA names no folder with wikitext-2"
fi
started=$(date +%s)
python=$("$here/environment.sh" "$1" 2>&1) || skip "$python"
echo "environment ready after $(($(date +%s) - started)) s"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
# Readers look for models and news elsewhere otherwise, and their progress bars are of use only when something fails.
[ "$1" = vllm ] || export OMP_NUM_THREADS=1  # beside other tests
export HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" TOKENIZERS_PARALLELISM=false PYTHONDONTWRITEBYTECODE=1
mkdir "$folder/work"
"$python" "$here/${3:-with_$1}.py" "$2" "$folder/work" 2>"$folder/stderr" || {
  status=$?
  tr '\r' '\n' <"$folder/stderr" | grep -v '%|' | tail -60
  exit "$status"
}
