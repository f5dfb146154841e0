#!/bin/sh
# Runs one recipe of configs/ on a small model and looks whether it left what it promises.
set -eu
recipe=$1
name=$(basename "$recipe" .toml)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir model
cp "$SWAGE_SOURCE_DIR"/tests/data/parity/llama/config.json "$SWAGE_SOURCE_DIR"/tests/data/parity/llama/model.safetensors \
  "$SWAGE_SOURCE_DIR"/tests/data/bytes/tokenizer.json model

fail() { echo "$recipe: $*"; exit 1; }

set -- --set model.path=model
# The model is 64 and 96 wide: what a recipe groups by 64 or 128 is grouped by 32 here.
if grep -q 'group = 64' "$SWAGE_SOURCE_DIR/configs/$recipe"; then set -- "$@" --set scheme.weight.group=32; fi
if grep -q 'activation.*group = 128' "$SWAGE_SOURCE_DIR/configs/$recipe"; then set -- "$@" --set scheme.activation.group=32; fi
"$SWAGE_BUILD_DIR/bin/swage" check "$SWAGE_SOURCE_DIR/configs/$recipe" "$@"
"$SWAGE_BUILD_DIR/bin/swage" run "$SWAGE_SOURCE_DIR/configs/$recipe" "$@"
set -- "runs/$name/result.json"
if grep -q '^\[\[export\]\]' "$SWAGE_SOURCE_DIR/configs/$recipe"; then
  weights=model.safetensors
  if grep -q '^use = "gguf"' "$SWAGE_SOURCE_DIR/configs/$recipe"; then weights=$name.gguf; fi
  set -- "$@" "out/$name/config.json" "out/$name/$weights" "out/$name/tokenizer.json"
fi
for file in "$@"; do
  [ -s "$file" ] || fail "$file is missing"
done
for figure in bits_per_weight perplexity kl_mean top1_agreement; do
  grep -q "\"$figure\"" "runs/$name/result.json" || fail "result.json has no $figure"
done
