#!/bin/sh
# consume.sh CMAKE COMPILER GENERATOR: the way of a third party from an installation to a compressed model.
# Ends with every plugin of the tree built the same way.
set -eu
cmake=$1
compiler=$2
generator=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fail() { echo "$*"; exit 1; }

"$cmake" --install "$SWAGE_BUILD_DIR" --prefix "$folder/prefix" > install.txt || { cat install.txt; fail "cannot install"; }
# Nothing may reach back into the tree it was built in.
mv prefix moved
python3 "$SWAGE_SOURCE_DIR/tests/gate/elf.py" moved
cp -R "$SWAGE_SOURCE_DIR/tests/install/consumer" consumer
[ "$(wc -l < consumer/my_method.cc)" -lt 60 ] || fail "the example of a method is too long to be one"
[ "$(wc -l < consumer/pow2.cc)" -lt 100 ] || fail "the example of a format is too long to be one"
"$cmake" -S consumer -B build -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$folder/moved" \
  -DCMAKE_BUILD_TYPE=Release -G "$generator"
"$cmake" --build build

swage=moved/bin/swage
for page in man/man1/swage.1 bash-completion/completions/swage zsh/site-functions/_swage fish/vendor_completions.d/swage.fish; do
  grep -q -e --overwrite -e '-l overwrite' -e '\\-\\-overwrite' "moved/share/$page" || fail "$page does not describe the command"
done
export XDG_CACHE_HOME="$folder/cache"
unset SWAGE_BUILD_DIR
"$swage" --plugin-path build plugins | tee plugins.txt
grep -q '^algorithm  my-method .*org.example.my-method 0.1.0' plugins.txt || fail "my-method is not listed"
grep -q '^format  *pow2 .*org.example.pow2 0.1.0' plugins.txt || fail "pow2 is not listed"
grep -q 'rtn' plugins.txt || fail "the installed plugins are not listed"
if grep -q 'refused' plugins.txt; then fail "a plugin is refused"; fi
"$swage" --plugin-path build help my-method | grep -q 'limit' || fail "help does not know the parameter"

"$swage" --plugin-path build help pow2 | grep -q 'group' || fail "help does not know the format's key"

mkdir model
cp "$SWAGE_SOURCE_DIR"/tests/data/parity/llama/config.json "$SWAGE_SOURCE_DIR"/tests/data/parity/llama/model.safetensors \
  "$SWAGE_SOURCE_DIR"/tests/data/bytes/tokenizer.json model
cp consumer/*.toml "$SWAGE_SOURCE_DIR"/configs/data/evaluation.txt "$SWAGE_SOURCE_DIR"/configs/data/calibration.txt .
"$swage" --plugin-path build check pipeline.toml
"$swage" --plugin-path build run pipeline.toml
"$swage" verify runs/pipeline | grep -q 'out/my-method: decodes to what the run computed' || fail "the export is not verified"
for text in '"provenance": "my-method (org.example.my-method 0.1.0)"' '"verdict": "ok"' '"perplexity"'; do
  grep -q "$text" runs/pipeline/result.json || fail "result.json does not say $text"
done

# A number format that the tree does not know: its own gptq sweeps it, its own exporter writes it.
"$swage" --plugin-path build check pow2.toml
"$swage" --plugin-path build run pow2.toml
"$swage" --plugin-path build verify runs/pow2 | grep -q 'out/pow2: decodes to what the run computed' || fail "pow2's export is not verified"
for text in '"provenance": "gptq (swage.gptq 1.0.0)"' '"format": "pow2"' '"verdict": "ok"' '"perplexity"'; do
  grep -q "$text" runs/pow2/result.json || fail "result.json of pow2 does not say $text"
done

# Unoptimized: what is asked is whether headers and exported targets suffice.
launcher=$(command -v ccache || true)
"$cmake" -S "$SWAGE_SOURCE_DIR/tests/install/plugins" -B all -DSWAGE_TREE="$SWAGE_SOURCE_DIR" -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_CXX_COMPILER_LAUNCHER="$launcher" -DCMAKE_PREFIX_PATH="$folder/moved" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 -G "$generator"
"$cmake" --build all --parallel 2
python3 "$SWAGE_SOURCE_DIR/tests/gate/elf.py" all
built=$(find all -name '*.swage.so' | wc -l)
expected=$(find "$SWAGE_SOURCE_DIR"/models "$SWAGE_SOURCE_DIR"/plugins "$SWAGE_SOURCE_DIR"/evaluators "$SWAGE_SOURCE_DIR"/backends \
  -name '*.plugin.toml' | wc -l)
[ "$built" -eq "$expected" ] || fail "$built of $expected plugins were built"
