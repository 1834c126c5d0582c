#!/usr/bin/env bash
# usage: scripts/mariadb.sh
# Have the programs of MariaDB for the tests of dumps; Debian's and Ubuntu's packages are installed if they are missing.
# None of these packages has a service that would be started.
set -euo pipefail
PATH="$PATH:/usr/sbin"
missing=""
for name in mariadbd mariadb-install-db mariadb mariadb-dump; do
    command -v "$name" >/dev/null || missing="$missing $name"
done
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Not found:$missing. Installing MariaDB's programs"
    apt-get update -qq >/dev/null || true  # lists that are old or missing know no package
    apt-get install -qq -y --no-install-recommends mariadb-server-core mariadb-client >/dev/null
else
    echo "Not found:$missing. Next: install MariaDB, on Debian 'apt install mariadb-server-core mariadb-client'." >&2
    exit 1
fi
