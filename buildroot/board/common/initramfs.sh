#!/bin/sh
# Makes the initramfs that every slot has: busybox, init, and kernel modules where the kernel has not all of it built in.
# Usage: initramfs.sh BUSYBOX OUT [LIST DIRECTORY]   BUSYBOX is static; LIST names modules in the order of loading, each with its parameters, which
# are somewhere below DIRECTORY. Needs cpio, gzip and SOURCE_DATE_EPOCH.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/modules"
cp "$1" "$work/bin/busybox"
cp "$(dirname "$0")/init" "$work/init"
chmod 755 "$work/init" "$work/bin/busybox"
cat "${3:-/dev/null}" >"$work/modules/order"
while read -r module _; do
  cp "$(find "$4" -name "$module.ko" -o -name "$(echo "$module" | tr _ -).ko" | head -n 1)" "$work/modules/$module.ko"
done <"$work/modules/order"
find "$work" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$work" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0) | gzip -n9 >"$2"
