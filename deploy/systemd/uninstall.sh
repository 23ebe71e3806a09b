#!/bin/sh
# `make uninstall-systemd`, `make uninstall-cron`: end and remove what `make install-...` installed: units, the cron
# job, the program. Data, settings and credentials stay, and it says where, unless --purge is given.
#
# DESTDIR  a folder that it was installed into instead of /
# PREFIX   where the program went: /opt/syncer
set -eu
DESTDIR="${DESTDIR:-}" PREFIX="${PREFIX:-/opt/syncer}" purge=no
case "${1:-}" in
  --purge) purge=yes ;;
  "") ;;
  *) echo "usage: $0 [--purge]" >&2; exit 2 ;;
esac
[ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || { echo "this takes root: sudo make uninstall-systemd" >&2; exit 1; }

booted=no
if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
  booted=yes
  # A worker may take 18 minutes to end its runs; who does not want to wait ends it beforehand
  for unit in syncer-sync.timer syncer.service syncer-sync.service 'syncer-worker@*.service'; do
    systemctl disable --now "$unit" 2>/dev/null || true
    systemctl stop "$unit" 2>/dev/null || true
  done
  for link in /etc/systemd/system/*.wants/syncer-worker@*.service; do
    [ ! -L "$link" ] || rm -f "$link"
  done
fi

for unit in syncer.service syncer-sync.service syncer-sync.timer syncer-worker@.service; do
  rm -f "$DESTDIR/etc/systemd/system/$unit"
  rm -rf "$DESTDIR/etc/systemd/system/$unit.d"
done
rm -f "$DESTDIR/etc/cron.d/syncer" "$DESTDIR/usr/local/bin/syncer"
rm -rf "$DESTDIR$PREFIX/venv"
rmdir "$DESTDIR$PREFIX" 2>/dev/null || true
if [ "$booted" = yes ]; then
  systemctl daemon-reload
  systemctl reset-failed 'syncer*' 2>/dev/null || true
fi

if [ "$purge" = yes ]; then
  # The first is a link to the second where systemd ran it
  if [ -z "$DESTDIR" ] && getent passwd syncer >/dev/null && grep -q '^syncer:' /etc/passwd; then
    userdel syncer
  fi
  rm -rf "$DESTDIR/var/lib/syncer" "$DESTDIR/var/lib/private/syncer" "$DESTDIR/etc/syncer"
  echo "Removed, with its data, settings and credentials. A database of yours is as it was."
else
  echo "Removed. What is left:"
  for path in /etc/syncer /var/lib/private/syncer /var/lib/syncer; do
    [ ! -e "$DESTDIR$path" ] || echo "  $DESTDIR$path"
  done
  if [ -z "$DESTDIR" ] && grep -q '^syncer:' /etc/passwd; then echo "  the user syncer"; fi
  echo "To remove that too, with all data that lies there: make uninstall-systemd PURGE=1"
fi
