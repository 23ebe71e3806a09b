#!/bin/sh
# syncer as its units run it: the same user, settings, credentials and database. For people: syncer zones
[ "$(id -u)" = 0 ] || exec sudo "$0" "$@"
if [ -t 0 ] && [ -t 1 ]; then how=--pty; else how=--pipe; fi
exec systemd-run --quiet --collect --wait "$how" --property="WorkingDirectory=-$PWD" \
  --property=DynamicUser=yes --property=User=syncer --property=PrivateUsers=yes \
  --property=StateDirectory=syncer --property=StateDirectoryMode=0700 --property=UMask=0077 \
  --setenv=SYNCER_STATE_DIR=/var/lib/syncer --setenv="SUDO_USER=${SUDO_USER:-root}" \
  --property=LoadCredential=zenlayer_access_key_id:/etc/syncer/credentials/zenlayer_access_key_id \
  --property=LoadCredential=zenlayer_access_key_secret:/etc/syncer/credentials/zenlayer_access_key_secret \
  --property=LoadCredential=zenlayer_token:/etc/syncer/credentials/zenlayer_token \
  --property=LoadCredential=syncer_database_url:/etc/syncer/credentials/syncer_database_url \
  --property=LoadCredential=syncer_queue_url:/etc/syncer/credentials/syncer_queue_url \
  --property=LoadCredential=accounts:/etc/syncer/credentials/accounts \
  --property=EnvironmentFile=-/etc/syncer/environment \
  /opt/syncer/venv/bin/syncer "$@"
