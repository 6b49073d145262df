#!/usr/bin/env bash
# Tests a Debian package of this machine's architecture: what is in it; and, in an overlay of this system that is thrown
# away, installed, changed, installed again, removed, purged; and by install.sh, from a directory and from a server.
# Usage: buildroot/deb/test.sh FILE.deb
set -euo pipefail
deb=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
fail() { echo "test-deb: $*" >&2; exit 1; }

[ "$(dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./conffiles)" = /etc/sidetone/sidetone.toml ] || fail "the config is no conffile"
list=$(dpkg-deb -c "$deb")
for want in '^-rwxr-xr-x root/root .* ./usr/bin/sidetone$' '^-rw-r--r-- root/root .* ./lib/systemd/system/sidetone.service$' '^-rw-r--r-- root/root .* ./etc/sidetone/sidetone.toml$'; do
  grep -qE "$want" <<<"$list" || fail "missing: $want"
done
echo "test-deb: $(dpkg-deb -f "$deb" Package Version Architecture | tr '\n' ' ')"

if command -v lintian >/dev/null; then
  lintian --allow-root --fail-on error,warning "$deb" || fail "lintian has found something"
  echo "test-deb: lintian has found nothing"
fi
if command -v systemd-analyze >/dev/null; then
  level=$(systemd-analyze security --offline=true --no-pager "$here/sidetone.service" | grep -oE 'level for sidetone.service: [0-9.]+' | grep -oE '[0-9.]+$')
  echo "test-deb: systemd-analyze security: $level"
  awk -v l="$level" 'BEGIN { exit !(l <= 2) }' || fail "the sandbox has become weaker"
fi

if [ "$(id -u)" != 0 ]; then
  echo "test-deb: skipped: installing it needs root, for users and groups"
  exit 0
fi
scratch=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$scratch"' EXIT
mkdir "$scratch/store"
cp "$deb" "$scratch/sidetone.deb"

# What a maker puts on a server: packages for all boards, of which only this machine's is one, and two that are spoilt.
site=$scratch/site
mkdir "$site"
arch=$(dpkg-deb -f "$deb" Architecture)
cp "$here/../install.sh" "$site/"
cp "$deb" "$site/sidetone_1.10.0_$arch.deb"
for target in arm64 armv7 armv6; do echo "$target" >"$site/sidetone_1.10.0_$target.deb"; done
echo old >"$site/sidetone_1.9.0_$arch.deb"
(cd "$site" && sha256sum sidetone_*.deb >SHA256SUMS)
for kind in cut flipped; do
  cp -R "$site" "$scratch/$kind"
  mv "$scratch/$kind" "$site/$kind"
done
truncate -s -1000 "$site/cut/sidetone_1.10.0_$arch.deb"
printf '\377\0\377\0' | dd of="$site/flipped/sidetone_1.10.0_$arch.deb" bs=1 seek=100000 conv=notrunc status=none
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
  -keyout "$scratch/server.key" -out "$scratch/server.pem" 2>"$scratch/log" || { cat "$scratch/log" >&2; fail "no certificate"; }
python3 "$here/serve.py" "$site" "$scratch/server.pem" "$scratch/server.key" >"$scratch/port" 2>"$scratch/log" &
server=$!
for _ in $(seq 100); do [ ! -s "$scratch/port" ] || break; sleep 0.1; done
[ -s "$scratch/port" ] || { cat "$scratch/log" >&2; fail "no server"; }

cat >"$scratch/inside" <<'END'
set -e
fail() { echo "test-deb: $*" >&2; exit 1; }
dpkg -i /mnt/sidetone.deb >/mnt/log 2>&1 || { cat /mnt/log; fail "not installed"; }
getent passwd sidetone >/dev/null || fail "no user"
id -nG sidetone | grep -qw audio || fail "the user may not use sound cards"
[ "$(stat -c %a:%U:%G /etc/sidetone)" = 750:root:sidetone ] || fail "/etc/sidetone is open"
/usr/bin/sidetone version >/dev/null || fail "it does not run"
if command -v systemd-analyze >/dev/null; then
  said=$(SYSTEMD_UNIT_PATH=/lib/systemd/system systemd-analyze verify /lib/systemd/system/sidetone.service 2>&1 | grep sidetone || true)
  [ -z "$said" ] || fail "the unit: $said"
fi
echo '# mine' >>/etc/sidetone/sidetone.toml
[ -e /etc/systemd/system/multi-user.target.wants/sidetone.service ] || fail "it does not start with the system"
mkdir -p /var/lib/sidetone/slots
dpkg -i /mnt/sidetone.deb >/mnt/log 2>&1 || { cat /mnt/log; fail "not installed again"; }
grep -q '# mine' /etc/sidetone/sidetone.toml || fail "an upgrade took the config"
dpkg -r sidetone >/mnt/log 2>&1 || { cat /mnt/log; fail "not removed"; }
grep -q '# mine' /etc/sidetone/sidetone.toml || fail "removing it took the config"
[ -d /var/lib/sidetone ] || fail "removing it took the state"
dpkg -P sidetone >/mnt/log 2>&1 || { cat /mnt/log; fail "not purged"; }
for left in /etc/sidetone /var/lib/sidetone /usr/bin/sidetone /lib/systemd/system/sidetone.service /etc/systemd/system/multi-user.target.wants/sidetone.service; do
  [ ! -e "$left" ] || fail "purged, but $left is there"
done
! getent passwd sidetone >/dev/null || fail "purged, but the user is there"
echo "test-deb: installed, upgraded, removed, purged"

# install.sh, as its user runs it.
refuses() {
  words=$1
  shift
  if "$@" >/mnt/log 2>&1; then cat /mnt/log; fail "$* has succeeded"; fi
  grep -q "$words" /mnt/log || { cat /mnt/log; fail "$* does not say: $words"; }
  ! dpkg -s sidetone >/dev/null 2>&1 || fail "$* has installed it"
}
takes() {
  "$@" >/mnt/log 2>&1 || { cat /mnt/log; fail "$*"; }
  /usr/bin/sidetone version >/dev/null && dpkg -s sidetone | grep -q '^Status: install ok installed' || fail "$* has not installed it"
  dpkg -P sidetone >/dev/null 2>&1
}
url=https://127.0.0.1:$(cat /mnt/port)
refuses 'could not be fetched' /mnt/site/install.sh "$url" # its certificate is nobody's
export CURL_CA_BUNDLE=/mnt/server.pem
takes /mnt/site/install.sh
takes /mnt/site/install.sh "$url"
for kind in cut flipped; do
  refuses 'is spoilt' "/mnt/site/$kind/install.sh"
  refuses 'is spoilt' /mnt/site/install.sh "$url/$kind"
done
refuses 'could not be fetched whole' /mnt/site/install.sh "$url/broken" # the server ends in the midst of each file
refuses 'could not be fetched' /mnt/site/install.sh "$url/nothing"
refuses 'no https URL' /mnt/site/install.sh "http${url#https}"
mkdir /mnt/empty
refuses 'no SHA256SUMS' /mnt/site/install.sh /mnt/empty
# Other boards, by what uname and dpkg say there; apt is asked for a package, and only that is looked at.
mkdir /mnt/other
printf '#!/bin/sh\necho "$machine"\n' >/mnt/other/uname
printf '#!/bin/sh\necho "$architecture"\n' >/mnt/other/dpkg
printf '#!/bin/sh\ncat "$3"\n' >/mnt/other/apt-get
chmod +x /mnt/other/*
while read -r machine architecture want; do
  export machine architecture
  got=$(PATH=/mnt/other:$PATH /mnt/site/install.sh 2>&1) || true
  case $got in
  "$want" | *"$want with"*) ;;
  *) fail "$machine with $architecture: $got, want $want" ;;
  esac
done <<BOARDS
armv6l armhf armv6
armv7l armhf armv7
aarch64 armhf armv7
aarch64 arm64 arm64
riscv64 riscv64 riscv64
armv7l armel armv7l
BOARDS
echo "test-deb: install.sh takes what fits, from a directory and a server, and nothing that is cut or spoilt"
END
export scratch
unshare -m bash -euc '
  mount -t tmpfs none "$scratch/store"
  mkdir "$scratch"/store/{upper,work,root}
  mount -t overlay overlay -o lowerdir=/,upperdir="$scratch/store/upper",workdir="$scratch/store/work" "$scratch/store/root"
  root=$scratch/store/root
  mount --bind /dev "$root/dev"
  mount -t proc proc "$root/proc"
  rm -rf "$root/run"/* 2>/dev/null || true
  cp -R "$scratch"/{sidetone.deb,inside,site,port,server.pem} "$root/mnt/"
  chroot "$root" sh /mnt/inside
'
