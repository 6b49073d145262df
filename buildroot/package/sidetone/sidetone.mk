################################################################################
#
# sidetone
#
################################################################################

# The checkout that this tree is part of.
SIDETONE_SITE = $(BR2_EXTERNAL_SIDETONE_PATH)/..
SIDETONE_SITE_METHOD = local
SIDETONE_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = \
	--exclude build --exclude bin --exclude node_modules
SIDETONE_LICENSE = Apache-2.0
SIDETONE_LICENSE_FILES = LICENSE NOTICE
SIDETONE_DEPENDENCIES = alsa-lib opus speexdsp

SIDETONE_GOMOD = sidetone
SIDETONE_BUILD_TARGETS = cmd/sidetone

# env.sh is the home of flags and tags; those for the target come before.
sidetone-env = $(shell cd $(SIDETONE_SITE) && . buildroot/env.sh && echo "$(1)")
SIDETONE_TAGS = $(subst $(comma),$(space),$(patsubst -tags=%,%,$(filter -tags=%,$(call sidetone-env,$$GOFLAGS))))
SIDETONE_GO_ENV = \
	CGO_CFLAGS="$(TARGET_CFLAGS) $(filter -D%,$(call sidetone-env,$$CGO_CFLAGS))" \
	CGO_LDFLAGS="$(TARGET_LDFLAGS) $(filter -l%,$(call sidetone-env,$$CGO_LDFLAGS))"

SIDETONE_VERSION_STAMP = $(shell git -C $(SIDETONE_SITE) describe --tags --always --dirty 2>/dev/null || echo dev)
SIDETONE_LDFLAGS = -s -w -buildid= \
	-X sidetone/cmd/sidetone/internal/cli.Version=$(SIDETONE_VERSION_STAMP) \
	-X sidetone/cmd/sidetone/internal/cli.Commit=$(shell git -C $(SIDETONE_SITE) rev-parse HEAD 2>/dev/null) \
	-X sidetone/cmd/sidetone/internal/cli.Built=$(shell git -C $(SIDETONE_SITE) log -1 --format=%ct 2>/dev/null)

# Buildroot vendors Go modules when it downloads a package; a checkout is not
# downloaded. What go.sum says is checked.
define SIDETONE_VENDOR
	cd $(@D) && $(HOST_GO_TARGET_ENV) GOFLAGS=-mod=mod GOPROXY= \
		$(GO_BIN) mod vendor
endef
SIDETONE_PRE_BUILD_HOOKS += SIDETONE_VENDOR

define SIDETONE_INSTALL_SYSTEM
	$(SIDETONE_PKGDIR)/install-system.sh $(TARGET_DIR) \
		$(BR2_PACKAGE_SIDETONE_UPDATE_URL) \
		$(BR2_PACKAGE_SIDETONE_UPDATE_ROOT)
endef
SIDETONE_POST_INSTALL_TARGET_HOOKS += SIDETONE_INSTALL_SYSTEM

$(eval $(golang-package))
