# Sourced by the two batch scripts: modules, threads, and 'run', which runs a command in the image or, without one, here.
job=$1
# shellcheck source=/dev/null
source "$job/site.sh" # image, binds, modules, exported variables: written by 'perturbcast submit'
for module in "${modules[@]}"; do module load "$module"; done

# Libraries that count the machine's cores thrash under an allocation of fewer.
for variable in OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS NUMBA_NUM_THREADS; do
    export "$variable=${SLURM_CPUS_PER_TASK:-1}"
done

# 'perturbcast train' reads these: one process per device, as SLURM starts them (Lightning's own SLURM environment).
export PERTURBCAST_DEVICES=${SLURM_NTASKS_PER_NODE:-1} PERTURBCAST_NUM_NODES=${SLURM_JOB_NUM_NODES:-1}
[ -z "${SLURM_GPUS_ON_NODE:-}" ] || export PERTURBCAST_ACCELERATOR=gpu
export MASTER_ADDR=${MASTER_ADDR:-$(hostname)} # the batch script runs on the first machine; the port follows the job id

# A step of its own: where a partition preempts, SLURM asks the tasks of steps to end, not the batch script.
run() {
    # those that train together end together: two minutes after the first of them, whatever became of it
    local step=(srun "--nodes=$PERTURBCAST_NUM_NODES" "--ntasks-per-node=$PERTURBCAST_DEVICES" --wait=120)
    step+=("--cpus-per-task=${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=0)
    if [ -z "$image" ]; then
        exec "${step[@]}" "$@"
    fi
    local options=(--bind "$PWD" --pwd "$PWD")
    for bind in "${binds[@]}"; do options+=(--bind "$bind"); done
    [ -z "${SLURM_GPUS_ON_NODE:-}" ] || options+=(--nv)
    exec "${step[@]}" apptainer exec "${options[@]}" "$image" "$@"
}
