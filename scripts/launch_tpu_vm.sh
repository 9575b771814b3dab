#!/usr/bin/env bash
# Trains on a Cloud TPU: makes the TPU VM unless there is one, installs this source on all workers and starts there.
#
#   scripts/launch_tpu_vm.sh --name NAME --zone ZONE --type TYPE --share SERVER:/PATH [--version RUNTIME] [--spot]
#       [--dry-run] -- --config FILE --workdir DIR [ARGUMENT OF TRAINING ...]
#
# TYPE is an accelerator type such as v5litepod-16 or v5p-32. SERVER:/PATH is an NFS share (Filestore) that all workers
# mount at /mnt/spikejax, where WORKDIR and the data lie. The output is in ~/train.log of each worker; the first one's
# tells how far training is. After a crash the workers start again by themselves (launch_train.sh); after a preemption
# run this again: it makes the TPU VM anew, and training continues. `gcloud` must be logged in, with a project.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/lib.sh"

dry_run=no name="" zone="" type="" share="" version=tpu-ubuntu2204-base more=()
while [ $# -gt 0 ]; do
    case "$1" in
        --dry-run) dry_run=yes ;;
        --name) name=$(needed "$@"); shift ;;
        --zone) zone=$(needed "$@"); shift ;;
        --type) type=$(needed "$@"); shift ;;
        --share) share=$(needed "$@"); shift ;;
        --version) version=$(needed "$@"); shift ;;
        --spot) more+=(--spot) ;;
        -h | --help) usage ;;
        --) shift; break ;;
        *) usage "unknown option $1" ;;
    esac
    shift
done
for option in name zone type share; do
    [ -n "${!option}" ] || usage "--$option is needed"
done
[[ $share == *:/* ]] || usage "--share: expected SERVER:/PATH, got $share"
check_training "$@"

tpu=(gcloud compute tpus tpu-vm)
archive=$(mktemp -d)/spikejax.tar.gz
trap 'rm -rf "$(dirname "$archive")"' EXIT
on_all=("${tpu[@]}" ssh "$name" "--zone=$zone" --worker=all)

state=""
[ "$dry_run" = yes ] || state=$("${tpu[@]}" describe "$name" "--zone=$zone" "--format=value(state)" 2>/dev/null) || true
case "$state" in
    PREEMPTED | TERMINATED) run "${tpu[@]}" delete "$name" "--zone=$zone" --quiet; state="" ;;
    STOPPED) run "${tpu[@]}" start "$name" "--zone=$zone" ;;
esac
if [ -z "$state" ]; then
    run "${tpu[@]}" create "$name" "--zone=$zone" "--accelerator-type=$type" "--version=$version" ${more[@]+"${more[@]}"}
fi
# The image's own Python (3.10) is too old: uv brings one.
run git -C "$here/.." archive --format=tar.gz "--output=$archive" HEAD
run "${tpu[@]}" scp "$archive" "$name:spikejax.tar.gz" "--zone=$zone" --worker=all
run "${on_all[@]}" "--command=set -e
flock --nonblock train.lock true || { echo \"training is under way on \$(hostname)\" >&2; exit 1; }
sudo apt-get -o DPkg::Lock::Timeout=300 install --yes nfs-common
sudo mkdir -p /mnt/spikejax
mountpoint --quiet /mnt/spikejax || sudo mount -t nfs $(quoted "$share") /mnt/spikejax
mkdir -p spikejax && tar --extract --gzip --file spikejax.tar.gz --directory spikejax
python3 -m pip install --quiet --user uv
~/.local/bin/uv venv --quiet --allow-existing --python 3.12 spikejax/.venv
~/.local/bin/uv pip install --quiet --python spikejax/.venv/bin/python './spikejax[train,data,tpu]'"
# The workers find each other by the metadata of the TPU. nohup: training outlives this connection.
run "${on_all[@]}" "--command=cd spikejax && PYTHON=.venv/bin/python LOG=\$HOME/train.log nohup flock --nonblock ../train.lock \
scripts/launch_train.sh $(quoted "$@") >/dev/null 2>&1 </dev/null &"
