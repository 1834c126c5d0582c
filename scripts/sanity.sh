#!/usr/bin/env bash
# usage: scripts/sanity.sh VENV
# Runs every ansible-test sanity test with the ansible-core of VENV on a copy of the tree.
# The tests make private virtual environments under HOME; HOME is a folder of the cache, so that yours stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$PWD/$1
work=$PWD/.cache/sanity/$1
# Not in the cache: ansible-test asks git for the files, and git ignores that folder.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tree=$copy/ansible_collections/mlplatform/kubeflow

mkdir -p "$tree" "$work/home/.ansible/test/cache" "$work/wheels"
git ls-files --cached --others --exclude-standard -z | while IFS= read -r -d '' file; do
    [ -e "$file" ] && printf '%s\0' "$file"
done | tar --create --null --files-from=- | tar --extract --directory "$tree"

# ansible-test gets pip for its environments from an address of its own; the registry serves the same pip.
pip=$("$venv/bin/python" - <<'PY'
import pathlib, re
import ansible_test._internal as internal
text = (pathlib.Path(internal.__file__).parent / "python_requirements.py").read_text()
print(re.search(r"pip='([0-9.]+)'", text)[1])
PY
)
wheel=$work/wheels/pip-$pip-py3-none-any.whl
[ -e "$wheel" ] || "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work/wheels" "pip==$pip"
cat >"$work/home/.ansible/test/cache/get_pip_${pip//./_}.py" <<PY
import runpy
import sys

sys.path.insert(0, "$wheel")
sys.argv = ["pip", "install", *(arg for arg in sys.argv[1:] if arg not in ("--no-setuptools", "--no-wheel"))]
runpy.run_module("pip", run_name="__main__")
PY

version=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
cd "$tree"
env -u ANSIBLE_HOME -u ANSIBLE_COLLECTIONS_PATH HOME="$work/home" PATH="$venv/bin:$PATH" \
    "$venv/bin/ansible-test" sanity --local --python "$version" --color no
