#!/usr/bin/env bash
# usage: scripts/fresh.sh RELEASE...
# What a newcomer does: a clean clone, an empty cache, `make quickstart`; for each release, healthy at the end, and again
# with nothing to do. The cache is shared by the releases, as it would be on one machine.
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(mktemp -d)
clone=$place/main
git clone --quiet . "$clone"
cd "$clone"

settings=
clean() {
    [ -z "$settings" ] || make --no-print-directory sandbox-down ARGS="$settings" >/dev/null 2>&1 || true
    chmod -R u+w "$place"  # Go's module cache is read-only
    rm -rf "$place"
}
trap clean EXIT
export GOCACHE=$place/go-build GOMODCACHE=$place/go-mod

for release in "$@"; do
    name=fresh-${release//./-}
    settings="-e kubeflow_cache_dir=$place/cache -e kubeflow_version=$release -e sandbox_dir=$place/sandboxes -e kubeflow_results_dir=$place/results"
    for turn in first again; do
        printf '\n== %s, %s time\n' "$release" "$turn"
        make --no-print-directory quickstart ARGS="$settings" >"$place/$name.log" 2>&1 || { tail -60 "$place/$name.log"; exit 1; }
        grep -E '^Kubeflow |^ +[0-9]+ s ' "$place/$name.log"
        python3 - "$place/results" "$turn" <<'PY'
import json, sys
folder, turn = sys.argv[1:]
status, site = (json.load(open("%s/%s.json" % (folder, name))) for name in ("status", "site"))
assert status["healthy"] is True, status
assert not site["requests"]["rejected"], site["requests"]
assert site["changed"] is (turn == "first"), site
PY
    done
    make --no-print-directory sandbox-down ARGS="$settings" >>"$place/$name.log" 2>&1
done
echo "ok: $*"
