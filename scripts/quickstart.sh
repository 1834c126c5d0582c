#!/usr/bin/env bash
# From nothing to a healthy platform on a sandbox of this machine, with the time that every step took.
set -euo pipefail
cd "$(dirname "$0")/.."

step() {  # step TITLE COMMAND...
    local title=$1 started=$SECONDS
    shift
    printf '\n== %s\n' "$title"
    "$@"
    times+=("$(printf '%5d s  %s' $((SECONDS - started)) "$title")")
}

times=()
step "Ansible in .venv" make --no-print-directory run-env
step "a sandbox: a real Kubernetes control plane on this machine" make --no-print-directory sandbox
step "Kubeflow on it" make --no-print-directory site
step "its health" make --no-print-directory status
printf '\nDone. The sandbox stays until "make sandbox-down".\n'
printf '%s\n' "${times[@]}"
