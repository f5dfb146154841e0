#!/bin/sh
# read.sh READER MODEL: lets one reader read what Swage exports of `small` (a toy) or `model` (SWAGE_TEST_MODEL).
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
# Readers look for models and news elsewhere otherwise.
export HF_HUB_OFFLINE=1 HF_HOME="$folder" TRANSFORMERS_VERBOSITY=error TOKENIZERS_PARALLELISM=false PYTHONDONTWRITEBYTECODE=1
"$python" "$here/with_$1.py" "$2" "$folder"
