#!/bin/sh
# `make install-systemd`: install or update the program, its units and the frame of its settings.
# Settings and credentials that are there stay as they are; nothing is started.
#
# DESTDIR  a folder to install into instead of /, for packaging
# PREFIX   where the program goes: /opt/syncer
# PYTHON   Python 3.11 or newer, not under /home or /root, which the units hide
# LOCK     what to install with it: deploy/run.lock; empty: nothing
# WHEEL    a wheel of syncer; without it one is built
#
# `install.sh units` leaves the program out, for who packages it otherwise. `install.sh cron` (`make install-cron`)
# installs for a machine without systemd: /etc/cron.d/syncer in the place of units, and the user that it names;
# `install.sh cron-file` leaves the program out of that.
set -eu
umask 022
cd "$(dirname "$0")/../.."
DESTDIR="${DESTDIR:-}" PREFIX="${PREFIX:-/opt/syncer}" PYTHON="${PYTHON:-python3}"
LOCK="${LOCK-deploy/run.lock}" WHEEL="${WHEEL:-}"
venv="$DESTDIR$PREFIX/venv"

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }

program() {
  "$PYTHON" - <<'CHECK'
import os, sys
if sys.version_info < (3, 11):
    sys.exit("syncer needs Python 3.11 or newer: make install-systemd PYTHON=/usr/bin/python3.11")
if os.path.realpath(sys.base_prefix).startswith(("/home/", "/root/")):
    sys.exit(f"the units hide /home and /root, and with them {sys.base_prefix}: "
             "make install-systemd PYTHON=/usr/bin/python3")
CHECK
  "$PYTHON" -m venv "$venv"
  if [ -z "$WHEEL" ]; then
    # With build tools out of the lock, which stay out of the installation.
    pip download --no-deps --require-hashes -r deploy/build.lock -d "$scratch/tools"
    pip wheel --no-deps --no-index --find-links "$scratch/tools" -w "$scratch" .
    WHEEL="$(echo "$scratch"/syncer-*.whl)"
  fi
  [ -z "$LOCK" ] || pip install --no-deps --require-hashes -r "$LOCK"
  pip install --no-deps --no-index --force-reinstall "$WHEEL"
  if [ -n "$DESTDIR" ]; then  # the scripts name the place they will be in
    grep -lI "$DESTDIR" "$venv"/bin/* "$venv/pyvenv.cfg" | xargs sed -i "s|$DESTDIR||g"
  fi
}

put() { # MODE SOURCE TARGET
  mkdir -p "$DESTDIR$(dirname "$3")"
  sed "s|/opt/syncer|$PREFIX|g" "$2" >"$scratch/file"
  install -m "$1" "$scratch/file" "$DESTDIR$3"
}
user=syncer
case "${1:-}" in
  cron*)
    if [ -z "$DESTDIR" ] && [ -L /var/lib/syncer ]; then
      echo "/var/lib/syncer is that of syncer's units, which cron's user cannot enter: back it up (syncer db dump)," \
        "then sudo make uninstall-systemd PURGE=1" >&2
      exit 1
    fi
    ;;
esac
case "${1:-}" in
  "") program; how=systemd ;;
  units) how=systemd ;;
  cron) program; how=cron ;;
  cron-file) how=cron ;;
  *) echo "usage: $0 [units|cron|cron-file]" >&2; exit 2 ;;
esac
if [ "$how" = cron ]; then
  if [ -z "$DESTDIR" ] && ! id "$user" >/dev/null 2>&1; then
    useradd --system --user-group --home-dir /var/lib/syncer --create-home --shell /usr/sbin/nologin "$user"
  fi
  [ -e "$DESTDIR/etc/cron.d/syncer" ] || put 644 deploy/cron/syncer /etc/cron.d/syncer
else
  for unit in syncer.service syncer-sync.service syncer-sync.timer syncer-worker@.service; do
    put 644 "deploy/systemd/$unit" "/etc/systemd/system/$unit"
  done
fi
put 755 deploy/systemd/syncer.sh /usr/local/bin/syncer
[ -e "$DESTDIR/etc/syncer/syncer.toml" ] || put 644 deploy/systemd/syncer.toml /etc/syncer/syncer.toml
credentials="$DESTDIR/etc/syncer/credentials"
for folder in "$credentials" "$credentials/accounts"; do
  [ -d "$folder" ] || install -d -m 700 "$folder"
done
for name in zenlayer_access_key_id zenlayer_access_key_secret zenlayer_token syncer_database_url syncer_queue_url \
  owner_database_url; do
  [ -e "$credentials/$name" ] || install -m 600 /dev/null "$credentials/$name"
done
# Cron's user reads them itself, all but those of the schema's owner. systemd hands them out, and they stay root's.
if [ "$how" = cron ] && [ -z "$DESTDIR" ]; then
  find "$credentials" ! -name owner_database_url \
    \( -type d -exec chgrp "$user" {} + -exec chmod 750 {} + -o -type f -exec chgrp "$user" {} + -exec chmod 640 {} + \)
fi

if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
echo "Installed. What to do next is in deploy/README.md."
