#!/bin/sh
# Installs the package that fits this board, from the directory that this script lies in. Usage: sudo ./install.sh
set -e
cd "$(dirname "$0")"
case $(uname -m)/$(dpkg --print-architecture) in
*/arm64) target=arm64 ;;
armv6l/*) target=armv6 ;;
*/armhf) target=armv7 ;;
*/amd64) target=amd64 ;;
*)
  echo "install: there is no package for $(uname -m) with $(dpkg --print-architecture)" >&2
  exit 1
  ;;
esac
file=$(ls -t sidetone_*_"$target".deb 2>/dev/null | head -n 1)
if [ -z "$file" ]; then
  echo "install: no sidetone_VERSION_$target.deb beside this script" >&2
  exit 1
fi
exec apt-get install -y "./$file"
