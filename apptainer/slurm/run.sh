# Sourced by the two batch scripts: modules, threads, and 'step', the words before a command that runs it in the image or,
# without one, here.
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

# A step of its own: where a partition preempts, SLURM asks the tasks of steps to end, not the batch script. Those that
# train together end together: two minutes after the first of them, whatever became of it.
step=(srun "--nodes=$PERTURBCAST_NUM_NODES" "--ntasks-per-node=$PERTURBCAST_DEVICES" --wait=120)
step+=("--cpus-per-task=${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=0)

# SLURM signals every process of a step, and a SIF file is mounted by one (squashfuse), which ends of it and takes the
# image away from the command that is still saving. So one process in an image is no step but runs beside this script, and
# a step stands by only to pass on what it is told ('stand_by PID'). Several processes have to be a step: see again.sh.
together=$((PERTURBCAST_NUM_NODES * PERTURBCAST_DEVICES))
if [ -n "$image" ]; then
    inside=(apptainer exec --bind "$PWD" --pwd "$PWD")
    for bind in "${binds[@]}"; do inside+=(--bind "$bind"); done
    [ -z "${SLURM_GPUS_ON_NODE:-}" ] || inside+=(--nv)
    if [ "$together" -eq 1 ]; then
        step=("${inside[@]}" "$image")
    else
        step+=(bash apptainer/slurm/again.sh "${inside[@]}" "$image")
    fi
fi
stand_by() {
    [ -n "$image" ] && [ "$together" -eq 1 ] || return 0
    # shellcheck disable=SC2016
    srun --nodes=1 --ntasks=1 bash -c 'trap "kill -TERM $1; exit" TERM; tail --pid="$1" -s 0.2 -f /dev/null & wait' _ "$1" &
}
