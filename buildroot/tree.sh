#!/usr/bin/env bash
# Checks the Buildroot tree against a Buildroot checkout, without a network and without building anything: every defconfig
# loads, keeps each of its settings, and selects our package; the files keep Buildroot's conventions.
# Usage: buildroot/tree.sh BUILDROOT   Needs what `buildroot/setup.sh tree` installs.
set -euo pipefail
top=$(cd "$(dirname "$0")" && pwd)
buildroot=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export BR2_EXTERNAL=$top
bad=0
fail() { echo "tree: $*" >&2; bad=1; }

for config in "$top"/configs/*_defconfig; do
  name=$(basename "$config")
  out=$work/$name
  make -s -C "$buildroot" "O=$out" "$name" >"$work/log" 2>&1 && make -s -C "$buildroot" "O=$out" olddefconfig >>"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "$name does not load"; continue; }
  while IFS= read -r setting; do
    grep -qxF -e "$setting" "$out/.config" || fail "$name loses: $setting"
  done < <(grep -E '^(BR2_|# BR2_.* is not set)' "$config")
  # A legacy setting would stop the build.
  ! grep -q '^BR2_LEGACY=y' "$out/.config" || fail "$name has settings that Buildroot knows no more"
  make -s -C "$buildroot" "O=$out" show-info >"$out/info" 2>"$work/log" || { cat "$work/log" >&2; fail "$name: show-info"; continue; }
  for package in sidetone alsa-lib opus speexdsp e2fsprogs busybox linux; do
    grep -qE "\"$package\": ?\{" "$out/info" || fail "$name does not select $package"
  done
  [ "$bad" = 1 ] || echo "tree: $name loads, keeps its settings and selects our package"
done
files=$(find "$top"/{external.desc,external.mk,Config.in,package,configs,board} -type f)
# By the system's Python, for which Debian's packages are.
/usr/bin/python3 "$buildroot/utils/check-package" -b $files || fail "check-package"
exit $bad
