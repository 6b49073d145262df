#!/bin/sh
# Installs what the program finds out about its system from: a config that that of the device is laid over, and the first root
# of trust of updates. Usage: install-system.sh TARGET URL ROOT   Without a URL, or a root, the device's config has to name its.
set -eu
to=$1/usr/share/sidetone
mkdir -p "$to"
cp "$(dirname "$0")/system.toml" "$to/system.toml"
if [ -n "$2" ]; then
  echo "$2" | grep -qxE 'https://[A-Za-z0-9:/.%_~-]+' || {
    echo "install-system: updates come from an https URL, not from $2" >&2
    exit 1
  }
  echo "url = \"$2\"" >>"$to/system.toml"
fi
if [ -n "$3" ]; then cp "$3" "$to/root.json"; fi
chmod 644 "$to"/*
