#!/usr/bin/env bash
# usage: scripts/chromium.sh
# Have a Chromium for the test that looks at plan.html in a browser; Debian's and Ubuntu's package is installed if there is none.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then
        exit 0
    fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "No Chromium was found: installing it"
    apt-get install -qq -y --no-install-recommends chromium >/dev/null
else
    echo "No Chromium was found. Next: install one, on Debian 'apt install chromium'." >&2
    exit 1
fi
