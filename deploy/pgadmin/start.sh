#!/bin/sh
# Writes the password file that servers.json names, then starts pgAdmin. The image can copy such a file itself
# (PGPASS_FILE), but only on its very first start: after a change of the password it would keep the old one.
set -eu

folder="/var/lib/pgadmin/storage/$(printf '%s' "$PGADMIN_DEFAULT_EMAIL" | sed 's/@/_/g')"
password=$(printf '%s' "$POSTGRES_PASSWORD" | sed 's/[\\:]/\\&/g')

mkdir -p "$folder"
umask 077 # libpq ignores a password file that others can read
printf 'db:5432:*:ragchat:%s\n' "$password" > "$folder/.pgpass"
unset POSTGRES_PASSWORD

exec /entrypoint.sh
