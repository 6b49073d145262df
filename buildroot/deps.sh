#!/usr/bin/env bash
# Builds the static C libraries that the firmware links: alsa-lib, opus and speexdsp, each pinned by sha256.
# Usage: buildroot/deps.sh [TARGET]   TARGET: host, amd64, arm64, armv7 or armv6, as buildroot/env.sh knows them
# Into build/deps/TARGET/{include,lib,lib/pkgconfig}, or host where that is the same; sources stay in build/cache. Needs
# the target's C compiler, make, bzip2, and apt or curl; no root. A second run finds the stamp and ends at once.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
target=${1:-host}
SIDETONE_TARGET=$target . "$top/buildroot/env.sh"
cache=$top/build/cache
prefix=$SIDETONE_DEPS
jobs=$(nproc)

# name, version, Debian suite that has this version ("" is the machine's own), sha256, upstream URL
alsa=(alsa-lib 1.2.14 trixie be9c88a0b3604367dd74167a2b754a35e142f670292ae47a2fdef27a2ee97a32
  https://www.alsa-project.org/files/pub/lib/alsa-lib-1.2.14.tar.bz2)
opus=(opus 1.5.2 trixie 65c1d2f78b9f2fb20082c38cbe47c951ad5839345876e46941612ee87f9a7ce1
  https://downloads.xiph.org/releases/opus/opus-1.5.2.tar.gz)
speexdsp=(speexdsp 1.2.1 "" 8c777343e4a6399569c72abc38a95b24db56882c83dbdb6c6424a5f4aeb54d3d
  https://downloads.xiph.org/releases/speex/speexdsp-1.2.1.tar.gz)

# The libraries hold for this recipe and this compiler, wherever they stand: checkouts may share them.
stamp=$prefix/.stamp
recipe=$(sha256sum <"$0" | cut -d' ' -f1)-${CC:-$(cc -dumpmachine)}
done_already() { [ "$(cat "$stamp" 2>/dev/null)" = "$recipe" ]; }
done_already && exit 0

mkdir -p "$cache" "$(dirname "$prefix")"
exec 9>"$top/build/deps/.lock"
flock 9
done_already && exit 0 # somebody else was building it

# found SHA256: prints the cached file of that content.
found() {
  local f
  for f in "$cache"/*.tar.*; do
    [ -f "$f" ] && [ "$(sha256sum <"$f" | cut -d' ' -f1)" = "$1" ] && { echo "$f"; return; }
  done
  return 1
}

# mirror prints the machine's own Debian mirror, so that none is named here.
mirror() {
  apt-get indextargets --format '$(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n 's/^main //p' | grep -E '/debian/?$' | head -n 1
}

# from_debian SOURCE SUITE: downloads a source package through an apt configuration of our own: the system's lists and
# sources stay as they are.
from_debian() {
  local source=$1 suite=$2 uri state=$cache/apt key=/usr/share/keyrings/debian-archive-keyring.gpg
  uri=$(mirror)
  [ -n "$uri" ] || return 1
  [ -n "$suite" ] || suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mkdir -p "$state"/{lists/partial,cache/archives/partial,parts}
  echo "deb-src [signed-by=$key] $uri $suite main" >"$state/sources.list"
  # Hooks of the system's configuration, such as container images have, are none of ours.
  cat >"$state/apt.conf" <<EOF
Dir::Etc::sourcelist "$state/sources.list";
Dir::Etc::sourceparts "$state/parts";
Dir::State::lists "$state/lists";
Dir::State::status "/dev/null";
Dir::Cache "$state/cache";
APT::Sandbox::User "";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
EOF
  apt-get -c "$state/apt.conf" -qq update &&
    (cd "$cache" && apt-get -c "$state/apt.conf" -qq source --download-only --tar-only "$source")
}

# fetch NAME VERSION SUITE SHA256 URL: prints the path of the pinned source.
fetch() {
  local name=$1 version=$2 suite=$3 sum=$4 url=$5
  found "$sum" && return
  echo "deps: fetching $name $version" >&2
  command -v apt-get >/dev/null && { from_debian "$name" "$suite" >&2 || true; } && found "$sum" && return
  command -v curl >/dev/null && curl -fsSL --connect-timeout 10 -o "$cache/$(basename "$url")" "$url" && found "$sum" && return
  echo "deps: no $name $version with sha256 $sum: put its source into $cache by hand ($url)" >&2
  return 1
}

work=$(mktemp -d "$top/build/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root # what is to become $prefix: a build in progress never shows half

# unpack NAME TARBALL: prints the source directory.
unpack() { mkdir "$work/$1" && tar -xf "$2" -C "$work/$1" --strip-components=1 && echo "$work/$1"; }

# quiet COMMAND...: its output is shown only when it fails.
quiet() { "$@" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; echo "deps: failed: $*" >&2; exit 1; }; }

# Each function in a section of its own, so that the linker leaves out what is not called; nobody unwinds C here.
small="-g0 -ffunction-sections -fdata-sections -fno-unwind-tables -fno-asynchronous-unwind-tables"
# Nothing of the libraries depends on where they are built: they are installed to $root by DESTDIR.
flags=(--enable-static --disable-shared --disable-dependency-tracking --prefix=/)
# The tools beside a cross compiler (ar, ranlib) have its name with another end.
[ "$(basename "$prefix")" = host ] || flags+=("--host=$($CC -dumpmachine)")
# What opus would find out about the CPU when it runs: an ARMv6 has nothing of it.
simd=()
[ "$target" != armv6 ] || simd=(--disable-intrinsics --disable-rtcd --disable-asm)

tarball=$(fetch "${alsa[@]}"); cd "$(unpack alsa "$tarball")"
echo "deps: building alsa-lib ${alsa[1]} for $target" >&2
quiet ./configure "${flags[@]}" --with-libdl=no --disable-python --disable-aload --disable-ucm --disable-topology \
  --disable-seq --disable-rawmidi --disable-hwdep --disable-old-symbols --without-versioned \
  --with-configdir=/usr/share/alsa --with-plugindir=/nonexistent --with-ctl-plugins= \
  --with-pcm-plugins=asym,copy,dmix,dshare,dsnoop,hooks,iec958,lfloat,linear,mmap_emul,null,plug,rate,route,softvol \
  CFLAGS="-Os -DNDEBUG $small"
quiet make -j"$jobs" -C include
quiet make -j"$jobs" -C src
# Only these two: a plain `make install` would write into the build host's /usr/share/alsa.
quiet make -C include install DESTDIR="$root"
install -D -m 644 -t "$root/lib" src/.libs/libasound.a

tarball=$(fetch "${opus[@]}"); cd "$(unpack opus "$tarball")"
echo "deps: building opus ${opus[1]} for $target" >&2
quiet ./configure "${flags[@]}" --disable-doc --disable-extra-programs "${simd[@]}" CFLAGS="-O3 $small"
quiet make -j"$jobs"
quiet make install DESTDIR="$root"

tarball=$(fetch "${speexdsp[@]}"); cd "$(unpack speexdsp "$tarball")"
echo "deps: building speexdsp ${speexdsp[1]} for $target" >&2
quiet ./configure "${flags[@]}" --disable-examples CFLAGS="-O3 $small"
quiet make -j"$jobs"
quiet make install DESTDIR="$root"

cd "$root"
rm -rf lib/*.la share
sed -i 's,^prefix=.*,prefix=${pcfiledir}/../..,' lib/pkgconfig/*.pc
echo "$recipe" >.stamp
rm -rf "$prefix"
mv "$root" "$prefix"
echo "deps: $target is ready" >&2
