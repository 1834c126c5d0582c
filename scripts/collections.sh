#!/usr/bin/env bash
# Makes .cache/collections: this repo under its name (a link), and kubernetes.core beside it.
# Without Galaxy, kubernetes.core is taken out of the wheel of the package "ansible".
set -euo pipefail
cd "$(dirname "$0")/.."
root=.cache/collections/ansible_collections
mkdir -p "$root/mlplatform"
if [ "$(readlink "$root/mlplatform/kubeflow" || true)" != "$PWD" ]; then
    rm -rf "$root/mlplatform/kubeflow"
    ln -s "$PWD" "$root/mlplatform/kubeflow"
fi
[ -e "$root/kubernetes/core/MANIFEST.json" ] && exit 0

galaxy_answers() {
    local server
    server=$(.venv/bin/ansible-config dump --only-changed=false 2>/dev/null | sed -n 's/^GALAXY_SERVER(.*) = //p')
    .venv/bin/python -c "import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + '/api/', timeout=3)" "$server" 2>/dev/null
}

if galaxy_answers; then
    echo "Getting kubernetes.core from Galaxy"
    .venv/bin/ansible-galaxy collection install --requirements-file requirements.yml --collections-path .cache/collections >/dev/null
else
    echo "Galaxy does not answer: getting kubernetes.core out of the package ansible"
    wheels=$(mktemp -d)
    trap 'rm -rf "$wheels"' EXIT
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
        --only-binary :all: --dest "$wheels" "ansible>=12,<15"
    .venv/bin/python - "$wheels" .cache/collections <<'PY'
import pathlib, sys, zipfile
with zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("ansible-*.whl"))) as wheel:
    wheel.extractall(sys.argv[2], [name for name in wheel.namelist() if name.startswith("ansible_collections/kubernetes/core/")])
PY
fi
