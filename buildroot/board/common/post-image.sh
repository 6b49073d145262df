#!/bin/sh
# Buildroot calls this with the directory of images and the board's name: it makes slot.img, which is what an update brings,
# and sdcard.img, as genimage.cfg of the board has them.
set -eu
images=$1
name=$2
common=$(dirname "$0")
board=$common/../$name

"$common/initramfs.sh" "$TARGET_DIR/bin/busybox" "$images/initramfs.gz"
cp "$images/rootfs.squashfs" "$images/system.squashfs"
cp "$common/autoboot.txt" "$board/config.txt" "$board/cmdline.txt" "$images/"
if [ "$name" = qemu_aarch64 ]; then
  gzip -n9 <"$images/Image" >"$images/kernel.img"
else
  # The firmware's own files, and the device trees, belong to the slot; the first stage of old boards stands outside.
  cp -R "$images"/rpi-firmware/. "$images/"
  cp "$board/config.txt" "$board/cmdline.txt" "$images/"
fi

files=
for file in config.txt cmdline.txt start*.elf fixup*.dat *.dtb overlays Image zImage initramfs.gz system.squashfs; do
  for found in "$images"/$file; do
    [ ! -e "$found" ] || files="$files\"$(basename "$found")\", "
  done
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/empty"
sed "s/#SLOT_FILES#/${files%, }/" "$board/genimage.cfg" >"$work/genimage.cfg"
find "$images" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
genimage --config "$work/genimage.cfg" --rootpath "$work/empty" --tmppath "$work/tmp" \
  --inputpath "$images" --outputpath "$images"
