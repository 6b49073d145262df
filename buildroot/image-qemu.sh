#!/usr/bin/env bash
# Assembles the image of board qemu_aarch64 without Buildroot: our program, Debian's kernel, busybox and e2fsprogs for arm64.
# Usage: buildroot/image-qemu.sh [PROGRAM [OUT [OVERLAY]]]   by default bin/sidetone-linux-arm64 and build/image-qemu
# Into OUT/slot.img, which is what an update brings, and OUT/sdcard.img, the whole card. OVERLAY is a directory that is laid
# over the system, which tests break it with. UPDATE_URL and UPDATE_ROOT are those of package/sidetone/Config.in. The same
# input gives the same bytes: all times are SOURCE_DATE_EPOCH, by default that of the commit. Needs what
# `buildroot/setup.sh image` installs, and what buildroot/board.sh fetches.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-bin/sidetone-linux-arm64}
out=${2:-build/image-qemu}
overlay=${3:-}
board=buildroot/board/qemu_aarch64
common=buildroot/board/common
fetched=build/board
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} TZ=UTC LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$out"
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
quiet() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; echo "image-qemu: failed: $*" >&2; exit 1; }; }

# The system, which is read-only.
system=$work/system
mkdir -p "$system"/{bin,sbin,boot,data,dev,etc,lib,proc,run,slot,sys,tmp,usr/bin}
cp "$fetched/programs/bin/busybox" "$system/bin/"
for applet in $(qemu-aarch64-static "$system/bin/busybox" --list | grep -vE '^(busybox|init|mke2fs)$'); do
  ln -s busybox "$system/bin/$applet"
done
ln -s ../bin/busybox "$system/sbin/init"
ln -s ../bin/busybox "$system/sbin/reboot"
cp "$fetched"/programs/sbin/{mke2fs,e2fsck} "$system/sbin/"
for library in ld-linux-aarch64.so.1 libc.so.6 libext2fs.so.2 libcom_err.so.2 libe2p.so.2 libblkid.so.1 libuuid.so.1; do
  cp -L "$(find "$fetched/programs" -name "$library" | head -n 1)" "$system/lib/$library"
done
cp "$program" "$system/usr/bin/sidetone"
buildroot/package/sidetone/install-system.sh "$system" "${UPDATE_URL:-}" "${UPDATE_ROOT:-}"
ln -s /run/resolv.conf "$system/etc/resolv.conf"
echo 'root:x:0:0:root:/data:/bin/false' >"$system/etc/passwd"
echo 'root:*:0:0:99999:7:::' >"$system/etc/shadow"
echo 'root:x:0:' >"$system/etc/group"
cp -R "$common"/overlay/. "$system/"
# That of the network is a module of the system, as all drivers of a Raspberry Pi are that no slot needs to boot.
network=$(find "$fetched/modules" -name virtio_net.ko)
modules=$system/lib/modules/$(grep -aom1 'vermagic=[^ ]*' "$network" | cut -d= -f2)
mkdir -p "$modules"
find "$fetched/modules" '(' -name failover.ko -o -name net_failover.ko -o -name virtio_net.ko ')' -exec cp -t "$modules" {} +
cat >"$modules/modules.dep" <<'END'
failover.ko:
net_failover.ko: failover.ko
virtio_net.ko: net_failover.ko failover.ko
END
echo 'alias virtio:d00000001v* virtio_net' >"$modules/modules.alias"
echo '$MODALIAS=.* root:root 660 @modprobe "$MODALIAS"' >"$system/etc/mdev.conf"
[ -z "$overlay" ] || cp -R --remove-destination "$overlay"/. "$system/"
chmod -R u=rwX,go=rX "$system"

# The files of a slot.
slot=$work/slot
mkdir "$slot"
# As Buildroot makes it without compression, and without tails, so that files stand for themselves: of a program that was
# built anew little differs, of a compressed one all.
quiet mksquashfs "$system" "$slot/system.squashfs" -noappend -all-root -no-xattrs -noI -noId -noD -noF -noX -no-fragments
quiet "$common/initramfs.sh" "$fetched/programs/bin/busybox" "$slot/initramfs.gz" "$board/modules" "$fetched/modules"
cp "$fetched/vmlinuz" "$slot/kernel.img"
cp "$board"/{config,cmdline}.txt "$common/autoboot.txt" "$slot/"
find "$slot" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

mkdir "$work/empty"
quiet genimage --config "$board/genimage.cfg" --rootpath "$work/empty" --tmppath "$work/genimage" \
  --inputpath "$slot" --outputpath "$work/images"
mv "$work"/images/{slot,sdcard}.img "$out/"
sha256sum "$out"/{slot,sdcard}.img
