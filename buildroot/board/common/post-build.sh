#!/bin/sh
# Buildroot calls this with the target directory: the system becomes one that is never written to.
set -eu
target=$1
mkdir -p "$target/boot" "$target/data" "$target/slot"
ln -sfn /run/resolv.conf "$target/etc/resolv.conf"
# etc/inittab names all that runs: scripts of packages would start beside it.
rm -rf "$target/etc/init.d" "$target/etc/network"
