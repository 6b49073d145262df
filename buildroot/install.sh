#!/bin/sh
# Installs the package that fits this board, if it is whole: from the directory that this script lies in, or from a server.
# Usage: sudo ./install.sh [https://HOST/PATH]   There are the packages of `make deb`, and their SHA256SUMS.
set -eu
fail() {
  echo "install: $*" >&2
  exit 1
}
[ "$(id -u)" = 0 ] || fail "this needs root: sudo $0 $*"
# An OS of 32 bits may have a kernel of 64. Of a Raspberry Pi 1 and a Zero the processor is older than that of others.
case $(uname -m)/$(dpkg --print-architecture) in
*/arm64) target=arm64 ;;
armv6l/armhf) target=armv6 ;;
*/armhf) target=armv7 ;;
*/amd64) target=amd64 ;;
*) fail "there is no package for $(uname -m) with $(dpkg --print-architecture)" ;;
esac

from=${1:-$(cd "$(dirname "$0")" && pwd)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt reads packages as another user
get() {
  case $from in
  https://*)
    if command -v curl >/dev/null; then
      curl -fsS --retry 2 -o "$work/$1" "$from/$1"
    else
      wget -nv -t 3 -O "$work/$1" "$from/$1"
    fi || fail "$from/$1 could not be fetched whole: try again"
    ;;
  *://*) fail "$from is no https URL: nobody could tell whose package that is" ;;
  *) cp "$from/$1" "$work/$1" 2>/dev/null || fail "there is no $1 in $from" ;;
  esac
}

get SHA256SUMS
file=$(sed -n "s/^[0-9a-f]\{64\}  \(sidetone_[^/]*_$target\.deb\)\$/\1/p" "$work/SHA256SUMS" | sort -V | tail -n 1)
[ -n "$file" ] || fail "SHA256SUMS of $from names no package for $target"
get "$file"
(cd "$work" && grep -F "  $file" SHA256SUMS | sha256sum --check --status) ||
  fail "$file is spoilt: it is not what SHA256SUMS says. Nothing was installed; load it again"
apt-get install -y "$work/$file"
