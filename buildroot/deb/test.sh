#!/usr/bin/env bash
# Tests a Debian package of this machine's architecture: what is in it; and, in an overlay of this system that is thrown
# away, installed, changed, installed again, removed, purged. Usage: buildroot/deb/test.sh FILE.deb
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
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/store"
cp "$deb" "$scratch/sidetone.deb"
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
  cp "$scratch/sidetone.deb" "$scratch/inside" "$root/mnt/"
  chroot "$root" sh /mnt/inside
'
