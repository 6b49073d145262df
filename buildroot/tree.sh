#!/usr/bin/env bash
# Checks the Buildroot tree against a Buildroot checkout, without a network and without building anything: every defconfig
# loads, is what savedefconfig makes of it (so that no setting is lost, and none says nothing), selects our package, and has a
# hash for its kernel; the files keep Buildroot's conventions.
# Usage: buildroot/tree.sh BUILDROOT   Needs what `buildroot/setup.sh tree` installs.
set -euo pipefail
top=$(cd "$(dirname "$0")" && pwd)
buildroot=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export BR2_EXTERNAL=$top
bad=0
fail() { echo "tree: $*" >&2; bad=1 board=bad; }
br() { make -s -C "$buildroot" "O=$out" "$@"; }

for config in "$top"/configs/*_defconfig; do
  name=$(basename "$config")
  out=$work/$name
  board=good
  { br "$name" && br olddefconfig && br savedefconfig "BR2_DEFCONFIG=$out/saved"; } >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "$name does not load"; continue; }
  while IFS= read -r setting; do
    grep -qxF -e "$setting" "$out/.config" || fail "$name loses: $setting"
  done < <(grep -E '^(BR2_|# BR2_.* is not set)' "$config")
  diff "$config" "$out/saved" >&2 || fail "$name is not what savedefconfig makes of it"
  # A legacy setting would stop the build.
  ! grep -q '^BR2_LEGACY=y' "$out/.config" || fail "$name has settings that Buildroot knows no more"
  br show-info >"$out/info" 2>"$work/log" || { cat "$work/log" >&2; fail "$name: show-info"; continue; }
  for package in sidetone alsa-lib opus speexdsp e2fsprogs busybox linux; do
    grep -qE "\"$package\": ?\{" "$out/info" || fail "$name does not select $package"
  done
  # Without one Buildroot takes what it has downloaded, and says so in a warning.
  kernel=$(br printvars VARS=LINUX_SOURCE | cut -d= -f2)
  grep -qE "^sha256  [0-9a-f]{64}  $kernel\$" "$top/board/common/patches/linux/linux.hash" || fail "$name: no hash of $kernel"
  [ "$board" = bad ] || echo "tree: $name loads, keeps its settings and selects our package"
done
files=$(find "$top"/{external.desc,external.mk,Config.in,package,configs,board} -type f)
# By the system's Python, for which Debian's packages are.
/usr/bin/python3 "$buildroot/utils/check-package" -b $files || fail "check-package"
exit $bad
