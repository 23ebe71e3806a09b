#!/bin/sh
# syncer as its units, or cron, run it: the same user, settings, credentials and database. For people: syncer zones
# What only the schema's owner may do (syncer db upgrade, db roles, db dependents) is done as whom
# /etc/syncer/credentials/owner_database_url names, where it is not empty.
set -eu
program=/opt/syncer/venv/bin/syncer
credentials=/etc/syncer/credentials
if [ -n "${SYNCER_DATABASE_URL:-}" ]; then
  echo "syncer: SYNCER_DATABASE_URL is not passed on: this command works as the service does. For the schema's owner" \
    "write it to $credentials/owner_database_url; for anything else use $program" >&2
  exit 2
fi
[ "$(id -u)" = 0 ] || exec sudo "$0" "$@"
owner="$credentials/owner_database_url" url="$credentials/syncer_database_url"
case "${1:-} ${2:-}" in
  "db upgrade" | "db roles" | "db dependents") [ ! -s "$owner" ] || url="$owner" ;;
esac

if [ ! -d /run/systemd/system ]; then
  if [ "$url" = "$owner" ]; then
    SYNCER_DATABASE_URL="$(cat "$owner")" && export SYNCER_DATABASE_URL
  fi
  HOME=/var/lib/syncer CREDENTIALS_DIRECTORY="$credentials" SUDO_USER="${SUDO_USER:-root}" \
    exec setpriv --reuid=syncer --regid=syncer --init-groups -- "$program" "$@"
fi
if [ -t 0 ] && [ -t 1 ]; then how=--pty; else how=--pipe; fi
exec systemd-run --quiet --collect --wait "$how" --property="WorkingDirectory=-$PWD" \
  --property=DynamicUser=yes --property=User=syncer --property=PrivateUsers=yes \
  --property=StateDirectory=syncer --property=StateDirectoryMode=0700 --property=UMask=0077 \
  --setenv=SYNCER_STATE_DIR=/var/lib/syncer --setenv="SUDO_USER=${SUDO_USER:-root}" \
  --property=LoadCredential=zenlayer_access_key_id:/etc/syncer/credentials/zenlayer_access_key_id \
  --property=LoadCredential=zenlayer_access_key_secret:/etc/syncer/credentials/zenlayer_access_key_secret \
  --property=LoadCredential=zenlayer_token:/etc/syncer/credentials/zenlayer_token \
  --property="LoadCredential=syncer_database_url:$url" \
  --property=LoadCredential=syncer_queue_url:/etc/syncer/credentials/syncer_queue_url \
  --property=LoadCredential=accounts:/etc/syncer/credentials/accounts \
  --property=EnvironmentFile=-/etc/syncer/environment \
  "$program" "$@"
