#!/usr/bin/env bash
# usage: scripts/venv.sh DIR REQUIREMENTS PYTHON...
# Makes DIR a virtual environment with the first Python version that works, and puts REQUIREMENTS into it.
# Nothing is done when the same was done before: a stamp holds the digest of every requirements file.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$1 requirements=$2
shift 2

works() {  # a pyenv shim without its version fails here, and so does a Python without ensurepip
    "$1" -c "import ensurepip, ssl, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$2')" >/dev/null 2>&1
}

find_python() {
    local version candidate
    for version in "$@"; do
        for candidate in $(type -ap "python$version" || true) "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python3; do
            if [ -x "$candidate" ] && works "$candidate" "$version"; then
                echo "$candidate"
                return
            fi
        done
    done
    return 1
}

usable() {  # not when the repo was moved or copied, nor when its Python is gone
    "$dir/bin/python" -c "import sys; sys.exit(sys.prefix != '$PWD/$dir')" 2>/dev/null &&
        head -n1 "$dir/bin/pip" | grep -qF "$PWD/$dir/"
}

stamp=$dir/.$(basename "$requirements")-$(cat requirements*.txt | sha256sum | cut -c1-16)
if [ -e "$stamp" ] && usable; then
    exit 0
fi

mkdir -p .cache
exec 9>".cache/$dir.lock"
flock 9
if ! usable; then
    if ! python=$(find_python "$@"); then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo "No working Python of $*: installing python3-venv"
            apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
            python=$(find_python "$@")
        else
            echo "No working Python of $* with venv and ensurepip was found. Next: install one, on Debian 'apt install python3-venv'." >&2
            exit 1
        fi
    fi
    echo "Making $dir with $("$python" --version)"
    rm -rf "$dir"
    "$python" -m venv "$dir"
fi
echo "Putting $requirements into $dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
rm -f "$dir/.$(basename "$requirements")"-*
touch "$stamp"
