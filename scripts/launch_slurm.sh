#!/usr/bin/env bash
# Trains on GPU nodes under Slurm: one process for each GPU, found by JAX from Slurm's environment.
#
#   scripts/launch_slurm.sh --nodes N --gpus GPUS_OF_A_NODE [--time HH:MM:SS] [--name NAME] [--partition P]
#       [--account A] [--dry-run] -- --config FILE --workdir DIR [ARGUMENT OF TRAINING ...]
#
# WORKDIR and the data lie where all nodes see them. Before the time is up, or when the job is preempted, training gets
# SIGTERM, saves and leaves with 143; the job then queues itself again and continues. PYTHON names the interpreter.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/lib.sh"

dry_run=no nodes="" gpus="" time=24:00:00 name=spikejax more=()
while [ $# -gt 0 ]; do
    case "$1" in
        --dry-run) dry_run=yes ;;
        --nodes) nodes=$(needed "$@"); shift ;;
        --gpus) gpus=$(needed "$@"); shift ;;
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
[[ $nodes =~ ^[1-9][0-9]*$ ]] || usage "--nodes: expected a whole number of at least 1, got '$nodes'"
[[ $gpus =~ ^[1-9][0-9]*$ ]] || usage "--gpus: expected a whole number of at least 1, got '$gpus'"
check_training "$@"

root=$(dirname "$here")
training=$(quoted "${PYTHON:-python}" -m spikejax.train "$@")
job="#!/usr/bin/env bash
cd $(quoted "$root")
code=0
srun --kill-on-bad-exit=1 $training || code=\$?
# 143: training was told to leave, and has saved.
if [ \"\$code\" -eq 143 ]; then scontrol requeue \"\$SLURM_JOB_ID\"; fi
exit \"\$code\""
submit=(
    sbatch "--job-name=$name" "--nodes=$nodes" "--ntasks-per-node=$gpus" "--gpus-per-node=$gpus" "--time=$time"
    --signal=TERM@300 --requeue --open-mode=append "--output=$name-%j.log" ${more[@]+"${more[@]}"}
)
if [ "$dry_run" = yes ]; then
    printf '%s <<"JOB"\n%s\nJOB\n' "$(quoted "${submit[@]}")" "$job"
else
    "${submit[@]}" <<<"$job"
fi
