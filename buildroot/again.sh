#!/usr/bin/env bash
# Builds what `make cross` has built into bin/ once more, in another directory, and compares.
# Usage: buildroot/again.sh [--from-nothing]   with VERSION, COMMIT and BUILT of the first build in the environment
# --from-nothing: with an empty Go cache, and C libraries built anew from the fetched sources; takes many minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
copy=$top/build/again # always the same, so that a Go cache that outlives the run serves the next one
trap 'chmod -R u+w "$copy" && rm -rf "$copy"' EXIT
rm -rf "$copy"
mkdir -p "$copy/checkout"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xf - -C "$copy/checkout"
cd "$copy/checkout"
mkdir build
ln -s "$(realpath "$top/build/cache")" build/cache
if [ "${1:-}" = --from-nothing ]; then
  export GOCACHE=$copy/cache
else
  ln -s "$(realpath "$top/build/deps")" build/deps
fi
make --no-print-directory cross
for first in "$top"/bin/sidetone-linux-*; do
  name=$(basename "$first")
  sum=$(sha256sum <"$first") again=$(sha256sum <"bin/$name")
  [ "$sum" = "$again" ] || { echo "again: two builds of $name differ: ${sum%% *} and ${again%% *}" >&2; exit 1; }
  echo "${sum%% *}  $name, twice"
done
