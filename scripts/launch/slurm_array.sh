#!/usr/bin/env bash
# Extracts a dataset in parts, one for each task of a Slurm array:
#
#   sbatch --array=1-8 --gres=gpu:1 scripts/launch/slurm_array.sh \
#       --model dinov2-l14 --dataset amos --root /data/amos --cache /data/embeddings
#
# All nodes need the program (in PATH or as EXTRACT), the model's files, the dataset and the cache's
# folder under the same paths. Give --gres, --time and --partition to sbatch. A task that is requeued,
# by Slurm or because its time is over, goes on where it stopped. To run only some tasks again, give
# their number and that of all parts: sbatch --array=3 --export=ALL,PARTS=8 …
#SBATCH --job-name=slicebank
#SBATCH --cpus-per-task=2
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slicebank-%A_%a.log
# Two minutes before the end of its time, a task saves what it has.
#SBATCH --signal=B:TERM@120
set -u

extract=${EXTRACT:-extract}
"$extract" "$@" --shard "auto${PARTS:+/$PARTS}" --threads "${SLURM_CPUS_PER_TASK:-1}" &
child=$!
stopped=
trap 'stopped=1; kill -TERM $child' TERM
wait $child
code=$?
# `wait` ends with a signal before `extract` has saved.
while kill -0 $child 2>/dev/null; do
    wait $child
    code=$?
done
if [ -n "$stopped" ] && [ $code -ne 0 ] && [ $code -ne 1 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
