#!/usr/bin/env bash
# usage: scripts/rclone.sh
# Have rclone for the benchmark of backups; the package of Debian and Ubuntu is installed if it is missing.
set -euo pipefail
if command -v rclone >/dev/null; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "No rclone: installing it"
    apt-get update -qq >/dev/null || true  # lists that are old or missing know no package
    apt-get install -qq -y --no-install-recommends rclone >/dev/null
else
    echo "No rclone. Next: install it, on Debian 'apt install rclone'." >&2
    exit 1
fi
