#!/usr/bin/env bash
# Makes bin/sidetone_VERSION_TARGET.deb of bin/sidetone-linux-TARGET. Usage: VERSION=... BUILT=... buildroot/deb.sh TARGET [OUTPUT]
# Raspberry Pi OS calls both 32-bit targets armhf: armv6 runs on all of its boards, armv7 is faster where it runs.
set -euo pipefail
cd "$(dirname "$0")/.."
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4
case $1 in
amd64 | arm64) export DEB_ARCH=$1 ;;
armv7 | armv6) export DEB_ARCH=armhf ;;
*)
  echo "deb: there is no target $1" >&2
  exit 2
  ;;
esac
# v1.2.3-4-gabc is 1.2.3+4.gabc there; what has no number yet is older than all that have one.
version=${VERSION#v}
case $version in
[0-9]*.*) DEB_VERSION=$(sed 's/-/+/; s/-/./g' <<<"$version") ;;
*) DEB_VERSION=0~${version//-/.} ;;
esac
changelog=$(mktemp)
trap 'rm -f "$changelog"' EXIT
gzip -9n >"$changelog" <<END
sidetone ($DEB_VERSION) stable; urgency=medium

  * $VERSION

 -- $(sed -n 's/^maintainer: //p' buildroot/deb/nfpm.yaml)  $(LC_ALL=C date -Ru -d "@$BUILT")
END
export DEB_VERSION DEB_CHANGELOG=$changelog DEB_PROGRAM=${DEB_PROGRAM:-bin/sidetone-linux-$1}
out=${2:-bin/sidetone_${DEB_VERSION}_$1.deb}
# With no cgo and none of our flags: it is a tool, and no part of what is built.
SOURCE_DATE_EPOCH=$BUILT GOFLAGS= CGO_ENABLED=0 GOOS= GOARCH= go run "$nfpm" package --config buildroot/deb/nfpm.yaml --packager deb --target "$out"
stat -c '%n %s' "$out" | awk '{ printf "%s %.1f MB\n", $1, $2 / 1e6 }'
