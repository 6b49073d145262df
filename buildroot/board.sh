#!/usr/bin/env bash
# Fetches Debian's arm64 kernel and builds its GPIO simulator, which Debian leaves out, from Debian's own sources: what the
# emulated board of `make test-board` boots. And a few programs, which the image of `make image-qemu` holds beside ours.
# Nothing of it is installed.
# Usage: buildroot/board.sh
# Into build/board/{vmlinuz,modules,programs}. Needs what `buildroot/setup.sh board` installs. A second run ends at once.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
out=$top/build/board
series=6.1 # of the kernel, which is that of Debian 12
suite=bookworm
recipe=$(sha256sum <"$0" | cut -d' ' -f1)-$out
[ "$(cat "$out/.stamp" 2>/dev/null)" != "$recipe" ] || exit 0
mkdir -p "$out"
exec 9>"$out/.lock"
flock 9
[ "$(cat "$out/.stamp" 2>/dev/null)" != "$recipe" ] || exit 0 # somebody else was at it
work=$out/work
rm -rf "$work"
mkdir -p "$work"/apt/{lists/partial,cache/archives/partial,parts}
log=$work/log
quiet() { "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2; echo "board: failed: $*" >&2; exit 1; }; }

# An apt configuration of our own, in which arm64 is native: the system knows nothing of it.
uri=$(apt-get indextargets --format '$(COMPONENT) $(REPO_URI)' 'Created-By: Packages' | sed -n 's/^main //p' | grep -E '/debian/?$' | head -n 1)
[ -n "$uri" ] || { echo "board: apt knows no Debian mirror" >&2; exit 1; }
key=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [arch=arm64,amd64 signed-by=$key] $uri $suite main" >"$work/apt/sources.list"
cat >"$work/apt.conf" <<END
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "$work/apt/parts";
Dir::State::lists "$work/apt/lists";
Dir::State::status "/dev/null";
Dir::Cache "$work/apt/cache";
APT::Architecture "arm64";
APT::Architectures { "arm64"; "amd64"; };
APT::Sandbox::User "";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
apt=(-c "$work/apt.conf" -qq)
echo "board: fetching Debian's arm64 kernel, its headers and its sources, busybox and e2fsprogs" >&2
quiet apt-get "${apt[@]}" update
image=$(apt-cache "${apt[@]}" depends linux-image-arm64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p')
release=${image#linux-image-}
cd "$work"
quiet apt-get "${apt[@]}" download "$image" "linux-headers-$release" "linux-headers-${release%-arm64}-common" \
  "linux-kbuild-$series:$(dpkg --print-architecture)" "linux-source-$series" \
  busybox-static e2fsprogs libext2fs2 libcom-err2 libblkid1 libuuid1 libc6
for package in busybox-static* e2fsprogs* lib*.deb; do dpkg -x "$package" programs; done
for package in linux-image* linux-headers* linux-kbuild*; do dpkg -x "$package" root; done

# The headers name each other by where they would be installed.
headers=$work/root/usr/src
sed -i "s, /usr/src/, $headers/," "$headers/linux-headers-$release/Makefile"

# gpio-sim needs irq_sim, which Debian leaves out too, and which calls what the kernel keeps from modules.
mkdir simulator
source=linux-source-$series
dpkg --fsys-tarfile linux-source*.deb | tar -xO "./usr/src/$source.tar.xz" |
  tar -xJ --transform 's,.*/,simulator/,' "$source"/{drivers/gpio/{gpio-sim.c,gpiolib.h},kernel/irq/irq_sim.c}
sed -i 's/handle_simple_irq(irq_to_desc(\(.*\)))/generic_handle_irq(\1)/' simulator/irq_sim.c
printf 'obj-m := gpio-simulator.o\ngpio-simulator-y := gpio-sim.o irq_sim.o\n' >simulator/Kbuild
quiet make -C "$headers/linux-headers-$release" M="$work/simulator" ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- modules

rm -rf "$out"/{modules,programs}
mv "root/lib/modules/$release/kernel" "$out/modules"
mv simulator/gpio-simulator.ko "$out/modules/"
mv programs "$out/programs"
gzip -n9 <"root/boot/vmlinuz-$release" >"$out/vmlinuz"
cd "$top"
rm -rf "$work"
echo "$recipe" >"$out/.stamp"
echo "board: Linux $release is ready" >&2
