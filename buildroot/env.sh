# The Go environment in which everything of ours is built and tested: `. buildroot/env.sh && go test ./...`
# It is the one home of cgo flags and build tags, so that all share one build cache. A shell without BASH_SOURCE
# sources it from the top of the checkout. With SIDETONE_TARGET=arm64 (amd64, armv7, armv6) it is for such a device, with
# desktop for this machine, but for the shared ALSA library of its own, whose plugins reach the sound server.
sidetone_top=$(cd "$(dirname "${BASH_SOURCE:-buildroot/env.sh}")/.." && pwd)
sidetone_target=${SIDETONE_TARGET:-host}
sidetone_libraries=$sidetone_target
sidetone_tags=netgo,osusergo,nolibopusfile,nethttpomithttp2
# ALSA is linked in (miniaudio would dlopen it), and is the only back-end.
sidetone_alsa="-DMA_NO_RUNTIME_LINKING"
# How the CPU is named belongs to the compiler here: the C libraries and cgo must agree in it.
case $sidetone_target in
host) ;;
desktop) sidetone_libraries=host sidetone_tags=$sidetone_tags,desktop sidetone_alsa= ;;
amd64)
  if [ "$(uname -m)" = x86_64 ]; then sidetone_libraries=host; else export GOARCH=amd64 CC=x86_64-linux-gnu-gcc; fi
  ;;
arm64) export GOARCH=arm64 CC=aarch64-linux-gnu-gcc ;;
armv7) export GOARCH=arm GOARM=7 CC="arm-linux-gnueabihf-gcc -mcpu=cortex-a7 -mfpu=neon-vfpv4" ;;
# The C library of Debian's armel asks for no more than ARMv5; floats are passed its way and reckoned by the FPU.
armv6) export GOARCH=arm GOARM=6 CC="arm-linux-gnueabi-gcc -march=armv6 -mfpu=vfp -mfloat-abi=softfp -marm" ;;
*)
  echo "env: there is no target $sidetone_target: host, desktop, amd64, arm64, armv7 and armv6 are" >&2
  return 2
  ;;
esac
[ "$sidetone_libraries" = host ] || export GOOS=linux CGO_ENABLED=1
export SIDETONE_DEPS="$sidetone_top/build/deps/$sidetone_libraries" # what buildroot/deps.sh makes
export PKG_CONFIG_PATH="$SIDETONE_DEPS/lib/pkgconfig"
# Of miniaudio only devices are of use: its decoders, filters and mixers stay out, and with sections of their own also what
# else is not called.
sidetone_unused="-DMA_NO_DECODING -DMA_NO_ENCODING -DMA_NO_RESOURCE_MANAGER -DMA_NO_NODE_GRAPH -DMA_NO_ENGINE -DMA_NO_GENERATION"
export CGO_CFLAGS="-O2 -g0 -ffunction-sections -fdata-sections $sidetone_alsa $sidetone_unused -DMA_NO_PULSEAUDIO -DMA_NO_JACK -I$SIDETONE_DEPS/include"
# The order of the libraries matters.
export CGO_LDFLAGS="-L$SIDETONE_DEPS/lib -lasound -lopus -lspeexdsp -lm"
# The version is stamped by the Makefile, so git need not be asked, which refuses in a checkout of somebody else's.
export GOFLAGS="-tags=$sidetone_tags -trimpath -buildvcs=false"
# Tests start servers, which stand in /usr/sbin; it is not on everybody's path.
export PATH="$PATH:/usr/sbin:/sbin"
unset sidetone_top sidetone_target sidetone_libraries sidetone_tags sidetone_alsa sidetone_unused
