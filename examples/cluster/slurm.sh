#!/bin/bash
# A Ray cluster within a Slurm job: sbatch slurm.sh. Give the same command again if time runs out.
#SBATCH --job-name=forgeprep
#SBATCH --nodes=4
#SBATCH --exclusive
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --mem-per-cpu=1500M
#SBATCH --time=08:00:00
set -euo pipefail

# CHANGE: the environment that holds forgeprep, and the folders; all on storage that every node sees.
source "${VENV:-$HOME/forgeprep/.venv}/bin/activate"
root=${ROOT:-/data/ffpp}
out=${OUT:-/data/shards}

# Ray runs what anybody sends it who can reach its port; the token lies in ~/.ray (Ray 2.52 or newer).
export RAY_AUTH_MODE=token
(umask 077 && ray get-auth-token --generate >/dev/null)

head=$SLURMD_NODENAME
# By job, since others may have a Ray of theirs on the default port.
port=$((20000 + SLURM_JOB_ID % 10000))
# What `--address auto` goes by.
export RAY_ADDRESS=$head:$port
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

# What srun does not take over from sbatch.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
# This script runs on the first node. --block keeps Ray, and with it the step, alive.
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
    ray start --head --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" --include-dashboard=false --block &
for _ in $(seq 60); do
    ray status --address "$RAY_ADDRESS" >/dev/null 2>&1 && break
    sleep 2
done
if ((SLURM_JOB_NUM_NODES > 1)); then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" \
        ray start --address="$RAY_ADDRESS" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
fi

# Shards wait for the CPUs of nodes that come later.
forgeprep run ffpp --root "$root" --out "$out" --stages crop,mask,noise --shard-size 500 --address auto
