#!/usr/bin/env bash
# Installs the Debian packages that a build needs and that are missing; does nothing when all is there.
# Usage: buildroot/setup.sh [build|cross|deb|test|speech|web|browser|board|image|tree|compare]
# build is what `make build` needs on a Debian 12 with git, make and Go; cross what `make cross` needs besides
set -euo pipefail

# Servers stand in /usr/sbin, which is not on everybody's path.
PATH=$PATH:/usr/sbin:/sbin
packages=()
# need PACKAGE COMMAND...: asks for the package unless all of its commands are there, whoever brought them.
need() {
  local package=$1 command
  shift
  for command in "$@"; do
    command -v "$command" >/dev/null || { packages+=("$package"); return; }
  done
}

# need_libc PACKAGE COMPILER: the archives, for static linking, which come in the same package as the headers.
need_libc() { [ -e "$("$2" -print-file-name=libc.a 2>/dev/null)" ] || packages+=("$1"); }

need gcc gcc cc
need_libc libc6-dev cc
need pkg-config pkg-config
need bzip2 bzip2
need util-linux flock unshare
case ${1:-build} in
build) ;;
cross)
  # For armv6 the armel compiler: Debian's armhf one brings a C library that needs ARMv7.
  while read -r triple debian; do
    need "gcc-${triple/_/-}" "$triple-gcc"
    need_libc "$debian" "$triple-gcc"
  done <<END
x86_64-linux-gnu libc6-dev-amd64-cross
aarch64-linux-gnu libc6-dev-arm64-cross
arm-linux-gnueabihf libc6-dev-armhf-cross
arm-linux-gnueabi libc6-dev-armel-cross
END
  need qemu-user-static qemu-x86_64-static qemu-aarch64-static qemu-arm-static
  ;;
deb)
  need lintian lintian
  need adduser adduser
  need curl curl
  need openssl openssl
  need python3 python3
  ;;
speech)
  need espeak-ng espeak-ng
  need sox sox
  ;;
web)
  need nodejs node
  need npm npm
  ;;
browser)
  need nodejs node
  need chromium chromium
  ;;
test)
  need mosquitto mosquitto
  need qemu-user-static qemu-aarch64-static qemu-arm-static
  need coturn turnserver
  need iproute2 ip
  need nftables nft
  ;;
board)
  need qemu-system-arm qemu-system-aarch64
  need gcc-aarch64-linux-gnu aarch64-linux-gnu-gcc
  need make make
  need xz-utils xz
  need iproute2 ip
  ;;
image)
  need genimage genimage
  need squashfs-tools mksquashfs
  need mtools mcopy mtype
  need dosfstools mkdosfs
  need cpio cpio
  need device-tree-compiler fdtput
  need qemu-user-static qemu-aarch64-static
  ;;
tree)
  need flake8 flake8
  need shellcheck shellcheck
  [ -e /usr/lib/python3/dist-packages/magic ] || packages+=(python3-magic)
  ;;
compare)
  need baresip-core baresip
  need iproute2 ip
  ;;
*) echo "setup: no such set of packages: $1" >&2; exit 2 ;;
esac
[ ${#packages[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! sudo -n true 2>/dev/null; then
    echo "setup: these packages are missing; install them as root: apt-get install ${packages[*]}" >&2
    exit 1
  fi
  as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null; then
  echo "setup: not a Debian system: install what these Debian packages hold: ${packages[*]}" >&2
  exit 1
fi
echo "setup: installing ${packages[*]}" >&2
install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "${packages[@]}" >/dev/null
}
# Debian starts a server when it is installed. Tests start their own, and nothing of ours may stay behind.
servers=()
for package in "${packages[@]}"; do
  case $package in mosquitto | coturn) servers+=("$package") ;; esac
done
[ ${#servers[@]} -eq 0 ] || trap '"${as_root[@]}" systemctl disable -q --now "${servers[@]}" 2>/dev/null || true' EXIT
# The lists may be missing or old. A foreign source that does not answer must not stop us.
install 2>/dev/null || { "${as_root[@]}" apt-get -qq update || true; install; }
