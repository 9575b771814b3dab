#!/usr/bin/env bash
# Trains on GPU nodes under Slurm: one process for each GPU, found by JAX from Slurm's environment.
#
#   scripts/launch_slurm.sh --nodes N --gpus GPUS_OF_A_NODE [--cpus CPUS_OF_A_GPU] [--time HH:MM:SS] [--name NAME]
#       [--partition P] [--account A] [--restarts N] [--dry-run] -- --config FILE --workdir DIR [ARGUMENT OF TRAINING ...]
#
# WORKDIR and the data lie where all nodes see them. Before the time is up, or when the job is preempted, training gets
# SIGTERM, saves and leaves with 143; the job then queues itself again and continues. It does so, too, if no process got
# on (5), or one was killed or died with its peers (137, 134 ...), unless it was queued again N times already (100). A
# wrong input (2) or a loss that is not finite (4) ends it, and so does scancel. PYTHON names the interpreter.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/lib.sh"

dry_run=no nodes="" gpus="" cpus=8 time=24:00:00 name=spikejax restarts=100 more=()
while [ $# -gt 0 ]; do
    case "$1" in
        --dry-run) dry_run=yes ;;
        --nodes) nodes=$(needed "$@"); shift ;;
        --gpus) gpus=$(needed "$@"); shift ;;
        --cpus) cpus=$(needed "$@"); shift ;;
        --restarts) restarts=$(needed "$@"); shift ;;
        --time) time=$(needed "$@"); shift ;;
        --name) name=$(needed "$@"); shift ;;
        --partition) more+=("--partition=$(needed "$@")"); shift ;;
        --account) more+=("--account=$(needed "$@")"); shift ;;
        -h | --help) usage ;;
        --) shift; break ;;
        *) usage "unknown option $1" ;;
    esac
    shift
done
for option in nodes gpus cpus; do
    [[ ${!option} =~ ^[1-9][0-9]*$ ]] || usage "--$option: expected a whole number of at least 1, got '${!option}'"
done
[[ $restarts =~ ^[0-9]+$ ]] || usage "--restarts: expected a whole number, got '$restarts'"
check_training "$@"

root=$(dirname "$here")
training=$(quoted "${PYTHON:-python}" -m spikejax.train "$@")
# No trap for SIGTERM in the job: scancel sends it to this shell as well, which then ends and does not queue it again.
job="#!/usr/bin/env bash
cd $(quoted "$root")
code=0
srun --cpus-per-task=$cpus --kill-on-bad-exit=1 $training || code=\$?
# 143: training was told to leave, and has saved. 5: it stood still. Another code from 128 on: a signal ended a process.
again=no
if [ \"\$code\" -eq 143 ]; then
    again=yes
elif [ \"\$code\" -eq 5 ] || { [ \"\$code\" -ge 128 ] && [ \"\$code\" -ne 130 ]; }; then
    [ \"\${SLURM_RESTART_COUNT:-0}\" -ge $restarts ] || again=yes
fi
if [ \"\$again\" = yes ]; then scontrol requeue \"\$SLURM_JOB_ID\"; fi
exit \"\$code\""
submit=(
    sbatch "--job-name=$name" "--nodes=$nodes" "--ntasks-per-node=$gpus" "--gpus-per-node=$gpus"
    "--cpus-per-task=$cpus" "--time=$time" --signal=TERM@300 --requeue --open-mode=append "--output=$name-%j.log" ${more[@]+"${more[@]}"}
)
if [ "$dry_run" = yes ]; then
    printf '%s <<"JOB"\n%s\nJOB\n' "$(quoted "${submit[@]}")" "$job"
else
    "${submit[@]}" <<<"$job"
fi
