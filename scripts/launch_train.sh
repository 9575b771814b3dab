#!/usr/bin/env bash
# Trains on one machine, on all of its devices, and starts again when the process dies.
#
#   scripts/launch_train.sh [--dry-run] [--restarts N] --config FILE --workdir DIR [ARGUMENT OF TRAINING ...]
#
# Output goes to the terminal and to LOG (WORKDIR/train.log). After a crash it waits RESTART_SECONDS (30) and continues
# from the last checkpoint, at most N times (10); a wrong input (2), a loss that is not finite (4), Ctrl-C (130) and SIGTERM
# (143) end it. PYTHON names another interpreter.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/lib.sh"

dry_run=no restarts=10
while [ $# -gt 0 ]; do
    case "$1" in
        --dry-run) dry_run=yes ;;
        --restarts) restarts=$(needed "$@"); shift ;;
        -h | --help) usage ;;
        *) break ;;
    esac
    shift
done
[[ $restarts =~ ^[0-9]+$ ]] || usage "--restarts: expected a whole number, got $restarts"
check_training "$@"

workdir=""
for ((place = 1; place <= $#; place++)); do
    case "${!place}" in
        --workdir) next=$((place + 1)) && workdir=${!next:-} ;;
        --workdir=*) workdir=${!place#--workdir=} ;;
    esac
done
[ -n "$workdir" ] || usage "--workdir needs a value"

command=("${PYTHON:-python}" -m spikejax.train "$@")
if [ "$dry_run" = yes ]; then
    run mkdir -p "$workdir"
    run "${command[@]}"
    exit 0
fi

cd "$here/.."
mkdir -p "$workdir"
log=${LOG:-$workdir/train.log}
# Signals are for training, which saves and leaves; this script waits for it. As a job of its own (-m) training is not
# told twice by a Ctrl-C, which it would take for "at once".
set -m
child="" told=""
pass_on() {
    told=$2
    [ -z "$child" ] || kill -"$1" "$child" 2>/dev/null || true
}
trap 'pass_on TERM 143' TERM
trap 'pass_on INT 130' INT
for ((attempt = 0; ; attempt++)); do
    "${command[@]}" > >(exec tee -ia "$log") 2>&1 &
    child=$!
    code=0
    wait "$child" || code=$?
    # A signal ends the wait, not the child.
    while kill -0 "$child" 2>/dev/null; do
        code=0
        wait "$child" || code=$?
    done
    child=""
    case "$code" in
        0 | 2 | 4 | 130 | 143) exit "$code" ;;
    esac
    [ -z "$told" ] || exit "$code"
    if [ "$attempt" -ge "$restarts" ]; then
        echo "launch_train.sh: ended with $code, $restarts restart(s) used up" | tee -a "$log" >&2
        exit "$code"
    fi
    echo "launch_train.sh: ended with $code, restart $((attempt + 1)) of $restarts" | tee -a "$log" >&2
    sleep "${RESTART_SECONDS:-30}" &
    wait $! || true # a signal ends this wait, not the sleep
    kill $! 2>/dev/null || true
    [ -z "$told" ] || exit "$told"
done
