# Sidetone. `make help` lists the targets.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help

FUZZTIME ?= 3s
TESTFLAGS ?=
BENCH ?= .
FUZZ ?= .
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
# When what is built was written, in seconds since 1970: the same sources make the same program.
BUILT ?= $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null))
env := . buildroot/env.sh &&

rooms := $(wildcard audio board cmd ota provisioning rtc)

# Packages without cgo, which also run on 32 bits: what counts samples, times and bytes must not count on 64.
pure := ./audio ./audio/echo ./audio/jitter ./audio/tone ./board/... ./ota/... ./provisioning/... ./rtc/call/... ./rtc/quality ./rtc/verto

# Tests with sound, media or whole programs in them run in real time: one package at a time, after all others.
alone := ./audio/device ./rtc/gateway/... ./rtc/media ./cmd/e2e
units = $$(go list ./... | grep -vE "/(audio/device|rtc/gateway|rtc/media|cmd/e2e)(/|$$)")

# What is tested on an emulated processor. It is too slow for what runs in real time (as in alone), and needs no more of
# what is no firmware: tests of the source, the measures of sound, the lab, the bench. board/door/keeper runs itself once
# more, by /proc/self/exe, which the kernel does not take for a program when it is emulated.
small = $$(go list ./... | grep -vE "/(audio/(audiotest|device)|board/door/keeper|rtc/gateway|rtc/media|cmd/e2e|cmd/sidetone(-lab|-bench|ctl))(/|$$)|/cmd$$")

# Packages that have tests which do more when SIDETONE_LONG is set, or exist with the tag long only.
long = $$(grep -rlE --include='*_test.go' 'SIDETONE_LONG|^//go:build long' $(rooms) | xargs -n 1 dirname | sort -u | sed 's,^,./,')
longenv = $(env) export GOFLAGS="$${GOFLAGS/-tags=/-tags=long,}" &&

boardenv = $(env) export GOFLAGS="$${GOFLAGS/-tags=/-tags=board,}" &&
updateenv = $(env) export GOFLAGS="$${GOFLAGS/-tags=/-tags=update,}" &&

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

deps: ## build the static C libraries (alsa-lib, opus, speexdsp) into build/deps
	@buildroot/setup.sh build
	@buildroot/deps.sh host

# No build id: it would tell the directory.
lean := -s -w -buildid=
said := sidetone/cmd/sidetone/internal/cli
firmware = $(lean) -X $(said).Version=$(VERSION) -X $(said).Commit=$(COMMIT) -X $(said).Built=$(BUILT)
# What is not called of the C libraries stays out. Pages of 16 KB are the largest of a Raspberry Pi's kernels; the linker
# would leave room for 64 KB. A warning of it is an error: it would be about what a device without shared libraries lacks.
static := -linkmode external -extldflags '-static -Wl,--fatal-warnings,--gc-sections,-z,max-page-size=16384'
# For a device only what runs for each sample or byte, and the runtime, is inlined: in all else inlining adds 1 MB of code
# and of its tables, and a call takes the same CPU with and without it.
hot := runtime/... internal/runtime/... internal/bytealg internal/byteorder internal/chacha8rand internal/sync sync/... \
  math math/bits math/rand/... cmp slices encoding/binary unicode/utf8 crypto/aes crypto/cipher \
  $(addprefix crypto/internal/fips140/,aes/... alias bigmod edwards25519/... nistec/... sha256 sha512 subtle) \
  crypto/internal/fips140deps/... crypto/internal/constanttime \
  golang.org/x/crypto/chacha20/... golang.org/x/crypto/chacha20poly1305/... golang.org/x/crypto/internal/... \
  gonum.org/v1/gonum/... sidetone/audio/... github.com/pion/rtp github.com/pion/srtp/v3 github.com/pion/transport/v4/... \
  github.com/hraban/opus github.com/gen2brain/malgo
inline := -gcflags=all=-l $(hot:%=-gcflags=%=)
sizes = stat -c '%n %s' $(1) | awk '{ printf "%s %.1f MB\n", $$1, $$2 / 1e6 }'

build: deps ## build bin/sidetone, bin/sidetone-lab, bin/sidetone-bench and bin/sidetonectl, static
	@mkdir -p bin
	$(env) go build -ldflags "$(firmware) $(static)" -o bin/sidetone ./cmd/sidetone
	$(env) go build -ldflags "$(lean) -X sidetone/cmd/sidetone-lab/internal/lab.Version=$(VERSION) $(static)" -o bin/sidetone-lab ./cmd/sidetone-lab
	$(env) go build -ldflags "$(lean) $(static)" -o bin/sidetone-bench ./cmd/sidetone-bench
	$(env) CGO_ENABLED=0 go build -ldflags "$(lean) -X sidetone/cmd/sidetonectl/internal/cli.Version=$(VERSION)" -o bin/sidetonectl ./cmd/sidetonectl
	@$(call sizes,bin/sidetone bin/sidetone-lab bin/sidetone-bench bin/sidetonectl)

build-desktop: deps ## build bin/sidetone-desktop, linked dynamically: "card:default" is what a laptop's PipeWire takes
	@mkdir -p bin
	SIDETONE_TARGET=desktop && $(env) go build -ldflags "$(firmware)" -o bin/sidetone-desktop ./cmd/sidetone
	@$(call sizes,bin/sidetone-desktop)

targets := amd64 arm64 armv7 armv6
cross: $(targets:%=cross-%) ## build bin/sidetone-linux-{amd64,arm64,armv7,armv6}, static; one of them: make cross-arm64
cross-%:
	@buildroot/setup.sh cross
	@buildroot/deps.sh $*
	@mkdir -p bin
	SIDETONE_TARGET=$* && $(env) go build $(inline) $(OVERLAY:%=-overlay=%) -ldflags "$(firmware) $(static)" -o bin/sidetone-linux-$* ./cmd/sidetone
	@$(call sizes,bin/sidetone-linux-$*)

modules := rtc/gateway/web/node_modules
web: $(modules)/.package-lock.json ## install the SDK of the lab's softphone, and what its tests need (npm ci)
$(modules)/.package-lock.json: rtc/gateway/web/package-lock.json
	@buildroot/setup.sh web
	cd rtc/gateway/web && npm ci --prefer-offline

test-browser: build web ## calls between the softphone in Chromium and a device
	@buildroot/setup.sh browser
	cd rtc/gateway/web && timeout -k 10 600 npm test

# Only where QEMU cannot be had is this skipped, and never in CI.
test-board: test-deps ## the firmware on an arm64 kernel in QEMU: buttons, lamp, relays, sound cards, hot-plug, calls, watchdog
	@if buildroot/setup.sh board; then $(MAKE) --no-print-directory -j 2 cross-arm64 board-kernel; \
	else echo "test-board: skipped: QEMU for arm64 cannot be installed here"; [ -z "$$CI" ]; fi
	@if buildroot/setup.sh board 2>/dev/null; then $(boardenv) go test -count=1 -v -timeout 10m -run '^TestBoard' ./cmd/e2e; fi

board-kernel:
	@buildroot/board.sh

# The image of board qemu_aarch64, with the layout that all boards have.
image-qemu: cross-arm64 ## build/image-qemu/{slot,sdcard}.img: an A/B system for QEMU, made of our program and Debian's kernel
	@buildroot/setup.sh board && buildroot/setup.sh image && buildroot/board.sh
	@buildroot/image-qemu.sh

# Two versions. The newer one has a sub-command more, by files that are laid over the sources. One after the other: both are
# built at the same place.
KILLS ?= 0
SEED ?= 1
newer := cmd/e2e/testdata/newer
test-update: test-deps image-v1.0.0 image-v1.10.0 ## update the firmware of a card in QEMU, well and badly (KILLS=20: and cut the power)
	$(updateenv) SIDETONE_KILLS=$(KILLS) SIDETONE_SEED=$(SEED) go test -count=1 -v -timeout 30m -run '^TestUpdate(Image|Factory|Refused|NeverUp|NotWell$(if $(filter-out 0,$(KILLS)),|Kills))$$' ./cmd/e2e

build/newer.json: $(shell find $(newer) -name '*.go')
	@mkdir -p build
	@(echo '{"Replace": {'; find $(newer) -name '*.go' -printf '"$(CURDIR)/%P": "$(CURDIR)/%p"\n' | paste -sd,; echo '}}') >$@

image-v1.10.0: image-v1.0.0 build/newer.json
image-v1.10.0: private overlay := build/newer.json
image-v%:
	@buildroot/setup.sh board && buildroot/setup.sh image && buildroot/board.sh
	@$(MAKE) --no-print-directory cross-arm64 VERSION=v$* OVERLAY=$(overlay)
	@mkdir -p build/image-v$* && cp bin/sidetone-linux-arm64 build/image-v$*/sidetone
	@buildroot/image-qemu.sh build/image-v$*/sidetone build/image-v$*

BUILDROOT ?=
test-buildroot: ## check the Buildroot tree against a checkout: make test-buildroot BUILDROOT=DIR
	@if [ -n "$(BUILDROOT)" ]; then buildroot/setup.sh tree && buildroot/tree.sh "$(BUILDROOT)"; else \
		echo "test-buildroot: skipped: no Buildroot checkout given by BUILDROOT="; fi

# What a system brings along: where updates come from, and 1.root.json, which they are trusted by.
UPDATE_URL ?=
UPDATE_ROOT ?=
export UPDATE_URL UPDATE_ROOT

BOARD ?=
sdcard: ## build a card for a board with Buildroot, from the internet: make sdcard BOARD=rpi4_64 BUILDROOT=DIR
	@[ -n "$(BUILDROOT)" ] && [ -e "buildroot/configs/sidetone_$(BOARD)_defconfig" ] || { \
		echo "usage: make sdcard BUILDROOT=DIR BOARD=one of $(patsubst buildroot/configs/sidetone_%_defconfig,%,$(wildcard buildroot/configs/*))"; exit 2; }
	$(MAKE) -C "$(BUILDROOT)" O=$(CURDIR)/build/sdcard-$(BOARD) BR2_EXTERNAL=$(CURDIR)/buildroot sidetone_$(BOARD)_defconfig
	printf 'BR2_PACKAGE_SIDETONE_UPDATE_%s="%s"\n' URL "$(UPDATE_URL)" ROOT "$(abspath $(UPDATE_ROOT))" >>build/sdcard-$(BOARD)/.config
	$(MAKE) -C build/sdcard-$(BOARD) olddefconfig
	$(MAKE) -C build/sdcard-$(BOARD) sidetone-dirclean # these sources may have changed
	$(MAKE) -C build/sdcard-$(BOARD)
	@ls -l build/sdcard-$(BOARD)/images/sdcard.img

demo: build ## make a real call: a lab, a door station, a concierge
	@bin/sidetone-lab demo --speech audio/audiotest/testdata/speech.wav

test: test-deps ## format, vet, all tests, each fuzz target for FUZZTIME, the pure packages on 32 bits
	@files=$$(gofmt -l $(rooms)) && [ -z "$$files" ] || { echo "gofmt would change: $$files"; exit 1; }
	$(longenv) go vet ./... && GOFLAGS="$${GOFLAGS/-tags=/-tags=trace,cross,board,update,}" go vet ./cmd/e2e
	$(env) go test $(TESTFLAGS) $(units)
	$(env) go test -p 1 $(TESTFLAGS) $(alone)
	GOARCH=386 CGO_ENABLED=0 go test $(TESTFLAGS) $(pure)
	@$(MAKE) --no-print-directory fuzz

test-long: test-deps ## what takes long (three hours): 100000 power cuts of updates, calls of 15 minutes over coturn, a million random calls, the protocol spoilt bit by bit
	$(longenv) SIDETONE_LONG=1 go test -count=1 -p 1 -v -timeout 120m $(TESTFLAGS) $(long)

# cmd/e2e runs programs that are built without the detector.
test-race: test-deps ## all tests but the end-to-end ones under the race detector
	$(env) go test -race $(TESTFLAGS) $(units)
	$(env) go test -race -p 1 $(TESTFLAGS) $(filter-out ./cmd/e2e,$(alone))

mutate: test-deps ## flip each condition of board/door in turn: a test must fail each time
	$(longenv) go test -count=1 -v -timeout 15m -run TestDoorMutants ./cmd

test-offline: test-deps ## make test, with no network but loopback
	$(longenv) go list -deps -test ./... >/dev/null # every module is there before the network goes
	unshare $(if $(filter 0,$(shell id -u)),-n,-Urn) sh -c 'ip link set lo up && GOPROXY=off exec $(MAKE) test'

test-deps: deps
	@buildroot/setup.sh test

test-cross: cross deps ## what make cross builds: static, the same when built again; calls on each processor, emulated
	$(env) export GOFLAGS="$${GOFLAGS/-tags=/-tags=cross,}" && SIDETONE_CROSS=$(CURDIR)/bin go test -count=1 -v $(TESTFLAGS) -run '^Test(Cross|Emulator)' ./cmd/e2e
	@VERSION=$(VERSION) COMMIT=$(COMMIT) BUILT=$(BUILT) buildroot/again.sh

debs := arm64 armv7 armv6
deb: $(debs:%=cross-%) ## build bin/sidetone_VERSION_{arm64,armv7,armv6}.deb, and bin/install.sh, which takes the one that fits
	@rm -f bin/sidetone_*.deb
	@for target in $(debs); do VERSION=$(VERSION) BUILT=$(BUILT) buildroot/deb.sh $$target || exit 1; done
	@cp buildroot/install.sh bin/ && cd bin && sha256sum sidetone_*.deb >SHA256SUMS

test-deb: build ## a package of this machine's own: what is in it; installed, upgraded, removed, purged in an overlay of this system; install.sh (root)
	@buildroot/setup.sh deb
	@VERSION=$(VERSION) BUILT=$(BUILT) DEB_PROGRAM=bin/sidetone buildroot/deb.sh amd64 bin/sidetone-test.deb
	@buildroot/deb/test.sh bin/sidetone-test.deb

test-32: deps ## the tests of the firmware on an emulated 32-bit ARM, with the C libraries
	@buildroot/setup.sh cross
	@buildroot/deps.sh armv7
	SIDETONE_TARGET=armv7 && $(env) go test -vet=off -timeout 30m -ldflags "-linkmode external -extldflags '-static'" \
	  -exec 'qemu-arm-static -cpu cortex-a7' $(TESTFLAGS) $(small)

fuzz: deps ## run every fuzz target for FUZZTIME each (make fuzz FUZZTIME=1m); FUZZ= chooses
	@$(env) buildroot/fuzz.sh $(FUZZTIME) '$(FUZZ)'

bench: build ## run the benchmarks (BENCH= chooses)
	$(env) go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

bench-audio: build ## play recorded and made schedules of packets, offline, and fail where NetEQ does better; cancel echoes in made rooms, and fail where speexdsp does
	@bin/sidetone-bench table --traces audio/audiotest/testdata/traces --in audio/audiotest/testdata/speech.wav; played=$$?; \
	bin/sidetone-bench echo --rooms && exit $$played

bench-baresip: build ## make the same call with baresip and with our device: CPU and memory (needs root or user namespaces)
	@buildroot/compare-baresip.sh

speech: ## make the speech WAVs again (needs espeak-ng and sox)
	buildroot/speech.sh

lint: deps ## staticcheck, of every build tag
	$(longenv) export GOFLAGS="$${GOFLAGS/-tags=/-tags=trace,cross,board,update,}" && go run honnef.co/go/tools/cmd/staticcheck@v0.7.0 ./...

clean: ## remove what was built; the sources of C libraries stay in build/cache
	rm -rf bin build/deps

.PHONY: help deps deb test-deb build build-desktop mutate web test-browser test-board board-kernel demo test test-long test-race test-offline test-cross test-32 test-deps fuzz bench bench-audio bench-baresip speech lint clean cross image-qemu test-update test-buildroot sdcard
