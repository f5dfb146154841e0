#!/bin/sh
# run.sh COUNT: compares COUNT random models of every family; skips where transformers cannot be had.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=$("$here/../readers/environment.sh" transformers 2>&1) || { echo "skipped: $python"; exit 77; }
export HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
exec "$python" "$here/compare.py" --count "$1"
