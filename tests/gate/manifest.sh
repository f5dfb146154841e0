#!/bin/sh
# manifest.sh TOOL: a manifest that the catalog would refuse stops the build of its plugin, with file and line.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > good.toml <<'END'
id = "org.example.a"
version = "1.0.0"
summary = "A test."  # ] "
[[component]]
kind = "algorithm"
name = "a"
interface = "algorithm/2"
summary = "A test."
END
"$1" good.toml good.cc none
grep -q 'SWAGE_PLUGIN_DESCRIPTOR("org.example.a", "1.0.0", R"swage(id' good.cc
refused() {  # sed expression, what must be said
  sed "$1" good.toml > bad.toml
  if "$tool" bad.toml bad.cc none 2> said.txt; then echo "accepted: $1"; exit 1; fi
  grep -q "$2" said.txt || { cat said.txt; exit 1; }
  [ ! -e bad.cc ] || { echo "a file was written"; exit 1; }
}
tool=$1
refused 's/^kind/knd/' 'bad.toml:4:1: "kind": is missing'
refused '/^id/d' 'bad.toml.*id'
refused 's,algorithm/2,algorithm/1,' 'has interface algorithm/1, this host knows algorithm/2; build the plugin again'
refused 's/^version.*/version = 1/' 'bad.toml:2:'
refused 's/# ] .*/# )swage"/' 'cannot stand in a manifest'
