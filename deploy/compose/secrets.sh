#!/bin/sh
# Makes ./secrets for compose.yaml: random passwords, and your key pair, which it asks for unless
# ZENLAYER_ACCESS_KEY_ID and ZENLAYER_ACCESS_KEY_SECRET are set. What is there stays as it is.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
# Nobody else passes the folder. The files are open, for containers see them as they are here, and their
# users are others than you.
chmod 700 secrets
umask 022

put() { # NAME VALUE
  [ -s "secrets/$1" ] || printf '%s' "$2" >"secrets/$1"
}
random() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}
ask() { # NAME
  printf '%s: ' "$1" >&2
  stty -echo 2>/dev/null || true
  read -r answer
  stty echo 2>/dev/null || true
  echo >&2
  printf '%s' "$answer"
}

for name in postgres owner app grafana grafana_admin; do
  put "${name}_password" "$(random)"
done
put owner_database_url "postgresql://syncer_owner:$(cat secrets/owner_password)@postgres:5432/inventory"
put syncer_database_url "postgresql://syncer_app:$(cat secrets/app_password)@postgres:5432/inventory"
[ -e secrets/database_ca ] || : >secrets/database_ca
for name in ZENLAYER_ACCESS_KEY_ID ZENLAYER_ACCESS_KEY_SECRET; do
  file="$(echo "$name" | tr '[:upper:]' '[:lower:]')"
  eval "value=\${$name:-}"
  [ -s "secrets/$file" ] || put "$file" "${value:-$(ask "$name")}"
done
