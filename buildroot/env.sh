# The Go environment in which everything of ours is built and tested: `. buildroot/env.sh && go test ./...`
# It is the one home of cgo flags and build tags, so that all share one build cache. A shell without BASH_SOURCE
# sources it from the top of the checkout. With SIDETONE_TARGET=arm64 (amd64, armv7, armv6) it is for that one's device.
sidetone_top=$(cd "$(dirname "${BASH_SOURCE:-buildroot/env.sh}")/.." && pwd)
sidetone_deps=$sidetone_top/build/deps/${SIDETONE_TARGET:-host}
# How the CPU is named belongs to the compiler here: the C libraries and cgo must agree in it.
case ${SIDETONE_TARGET:-host} in
host) ;;
amd64) export GOARCH=amd64 CC=x86_64-linux-gnu-gcc ;;
arm64) export GOARCH=arm64 CC=aarch64-linux-gnu-gcc ;;
armv7) export GOARCH=arm GOARM=7 CC="arm-linux-gnueabihf-gcc -mcpu=cortex-a7 -mfpu=neon-vfpv4" ;;
# The C library of Debian's armel asks for no more than ARMv5; floats are passed its way and reckoned by the FPU.
armv6) export GOARCH=arm GOARM=6 CC="arm-linux-gnueabi-gcc -march=armv6 -mfpu=vfp -mfloat-abi=softfp -marm" ;;
*)
  echo "env: there is no target $SIDETONE_TARGET: host, amd64, arm64, armv7 and armv6 are" >&2
  return 2
  ;;
esac
[ "${SIDETONE_TARGET:-host}" = host ] || export GOOS=linux CGO_ENABLED=1
export PKG_CONFIG_PATH="$sidetone_deps/lib/pkgconfig"
# ALSA is linked in (miniaudio would dlopen it), and is the only back-end; the order of the libraries matters.
export CGO_CFLAGS="-O2 -g0 -DMA_NO_RUNTIME_LINKING -DMA_NO_PULSEAUDIO -DMA_NO_JACK -I$sidetone_deps/include"
export CGO_LDFLAGS="-L$sidetone_deps/lib -lasound -lopus -lspeexdsp -lm"
# The version is stamped by the Makefile, so git need not be asked, which refuses in a checkout of somebody else's.
export GOFLAGS="-tags=netgo,osusergo,nolibopusfile -trimpath -buildvcs=false"
# Tests start servers, which stand in /usr/sbin; it is not on everybody's path.
export PATH="$PATH:/usr/sbin:/sbin"
unset sidetone_top sidetone_deps
