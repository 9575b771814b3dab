#!/usr/bin/env bash
# Trains on a TPU slice in Google Kubernetes Engine: writes the manifest of a JobSet and applies it.
#
#   scripts/launch_gke.sh --name NAME --image IMAGE --topology KIND:SIZE --claim CLAIM [--chips-of-host N] [--slices N]
#       [--dry-run] -- --config FILE --workdir DIR [ARGUMENT OF TRAINING ...]
#
# KIND:SIZE is what spikejax.plan takes, such as v5e:4x4 or v5p:2x2x4. CLAIM is a PersistentVolumeClaim that all pods
# can write to, mounted at /mnt/spikejax, where WORKDIR and the data lie. IMAGE is what the Dockerfile of this source
# makes with --build-arg EXTRAS=train,data,tpu (docs/installing.md). A pod that is evicted saves and leaves; the JobSet
# (jobset.sigs.k8s.io 0.6 or newer, to be installed in the cluster) then starts all pods again, and they continue, at
# most 100 times; a wrong input (exit code 2) or a loss that is not finite (4) fails it at once. Pods wait half an hour
# for each other, unless --wait-seconds says otherwise. With --dry-run the manifest is printed.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/lib.sh"

dry_run=no name="" image="" topology="" claim="" chips_of_host=4 slices=1
while [ $# -gt 0 ]; do
    case "$1" in
        --dry-run) dry_run=yes ;;
        --name) name=$(needed "$@"); shift ;;
        --image) image=$(needed "$@"); shift ;;
        --topology) topology=$(needed "$@"); shift ;;
        --claim) claim=$(needed "$@"); shift ;;
        --chips-of-host) chips_of_host=$(needed "$@"); shift ;;
        --slices) slices=$(needed "$@"); shift ;;
        -h | --help) usage ;;
        --) shift; break ;;
        *) usage "unknown option $1" ;;
    esac
    shift
done
for option in name image topology claim; do
    [ -n "${!option}" ] || usage "--$option is needed"
done
[[ $name =~ ^[a-z0-9]([a-z0-9-]*[a-z0-9])?$ ]] || usage "--name: expected small letters, digits and hyphens, got $name"
for option in chips_of_host slices; do
    [[ ${!option} =~ ^[1-9][0-9]*$ ]] || usage "--${option//_/-}: expected a whole number of at least 1, got ${!option}"
done
check_training "$@"

size=${topology#*:}
axes=2
case "${topology%%:*}" in
    v4) accelerator=tpu-v4-podslice axes=3 ;;
    v5e) accelerator=tpu-v5-lite-podslice ;;
    v5p) accelerator=tpu-v5p-slice axes=3 ;;
    v6e) accelerator=tpu-v6e-slice ;;
    tpu7x) accelerator=tpu7x axes=3 ;;
    *) usage "--topology: expected v4, v5e, v5p, v6e or tpu7x, got $topology" ;;
esac
[[ $size =~ ^[1-9][0-9]*(x[1-9][0-9]*)+$ && ${size//[0-9]/} == $(printf 'x%.0s' $(seq 2 $axes)) ]] ||
    usage "--topology: expected KIND:SIZE such as v5e:4x4 or v5p:2x2x4, got $topology"
chips=$((${size//x/*}))
((chips % chips_of_host == 0)) || usage "--chips-of-host: $chips_of_host does not divide the $chips chips of $topology"
hosts=$((chips / chips_of_host))

# A string of JSON is one of YAML.
in_quotes() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}
command=$(for word in python -m spikejax.train --wait-seconds 1800 "$@"; do printf '\n                    - %s' "$(in_quotes "$word")"; done)

manifest="apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $name
  annotations:
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool
spec:
  failurePolicy:
    maxRestarts: 100
    rules:
      - action: FailJobSet
        onJobFailureReasons:
          - PodFailurePolicy
  replicatedJobs:
    - name: train
      replicas: $slices
      template:
        spec:
          parallelism: $hosts
          completions: $hosts
          backoffLimit: 0
          podFailurePolicy:
            rules:
              - action: FailJob
                onExitCodes:
                  containerName: train
                  operator: In
                  values:
                    - 2
                    - 4
          template:
            spec:
              restartPolicy: Never
              terminationGracePeriodSeconds: 300
              nodeSelector:
                cloud.google.com/gke-tpu-accelerator: $accelerator
                cloud.google.com/gke-tpu-topology: $size
              containers:
                - name: train
                  image: $(in_quotes "$image")
                  command:$command
                  ports:
                    - containerPort: 8471
                    - containerPort: 8476
                  resources:
                    limits:
                      google.com/tpu: $chips_of_host
                  volumeMounts:
                    - name: runs
                      mountPath: /mnt/spikejax
              volumes:
                - name: runs
                  persistentVolumeClaim:
                    claimName: $(in_quotes "$claim")"
if [ "$dry_run" = yes ]; then
    printf '%s\n' "$manifest"
else
    kubectl apply --filename - <<<"$manifest"
fi
