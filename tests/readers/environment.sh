#!/bin/sh
# environment.sh NAME: makes the virtual environment .cache/readers/NAME of NAME.txt once and prints its Python.
# Where that is impossible, the last line of stderr says why, and the exit status is 1.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)/.cache/readers
name=$1
python=$root/$name/bin/python
uv_pin=uv==0.13.9

fail() { echo "the environment '$name' cannot be made: $*" >&2; exit 1; }

stamp=$(python3 --version 2>/dev/null; cat "$here/$name"*.txt) || fail "there is no python3, or no $name.txt"
if [ "$(cat "$root/$name/stamp" 2>/dev/null)" = "$stamp" ]; then echo "$python"; exit 0; fi

mkdir -p "$root"
free=$(df -Pm "$root" | awk 'NR == 2 { print $4 }')
[ "$free" -ge 7000 ] || fail "it takes up to 7000 MiB, $free MiB are free in $root"

# uv shares files between environments and installs in a quarter of pip's time. pip --target needs no python3-venv.
if [ ! -x "$root/uv/bin/uv" ]; then
  python3 -m pip --version >/dev/null 2>&1 || fail "python3 has no pip (Debian: apt-get install python3-pip)"
  rm -rf "$root/uv"
  python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --retries 1 --target "$root/uv" "$uv_pin" \
    >"$root/$name.log" 2>&1 || fail "$uv_pin could not be fetched: $(grep -i error "$root/$name.log" | tail -1)"
fi
export UV_CACHE_DIR="$root/cache" UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT=120
rm -rf "${root:?}/$name"
set -- -r "$here/$name.txt"
[ ! -f "$here/$name-override.txt" ] || set -- "$@" --override "$here/$name-override.txt"
{ "$root/uv/bin/uv" venv -q --python "$(command -v python3)" "$root/$name" &&
  "$root/uv/bin/uv" pip install -q --no-config --python "$python" "$@"; } >"$root/$name.log" 2>&1 || {
  rm -rf "${root:?}/$name"
  fail "$(tr '\n' ' ' <"$root/$name.log" | cut -c1-600)"
}
printf '%s\n' "$stamp" >"$root/$name/stamp"
echo "$python"
