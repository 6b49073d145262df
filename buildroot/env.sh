# The Go environment in which everything of ours is built and tested: `. buildroot/env.sh && go test ./...`
# It is the one home of cgo flags and build tags, so that all share one build cache. A shell without BASH_SOURCE
# sources it from the top of the checkout.
sidetone_top=$(cd "$(dirname "${BASH_SOURCE:-buildroot/env.sh}")/.." && pwd)
sidetone_deps=$sidetone_top/build/deps/${SIDETONE_TARGET:-host}
export PKG_CONFIG_PATH="$sidetone_deps/lib/pkgconfig"
# ALSA is linked in (miniaudio would dlopen it), and is the only back-end; the order of the libraries matters.
export CGO_CFLAGS="-O2 -g0 -DMA_NO_RUNTIME_LINKING -DMA_NO_PULSEAUDIO -DMA_NO_JACK -I$sidetone_deps/include"
export CGO_LDFLAGS="-L$sidetone_deps/lib -lasound -lopus -lspeexdsp -lm"
# The version is stamped by the Makefile, so git need not be asked, which refuses in a checkout of somebody else's.
export GOFLAGS="-tags=netgo,osusergo,nolibopusfile -trimpath -buildvcs=false"
# Tests start servers, which stand in /usr/sbin; it is not on everybody's path.
export PATH="$PATH:/usr/sbin:/sbin"
unset sidetone_top sidetone_deps
