"""What SLURM is given, word for word, and what a site may say."""

import subprocess
from pathlib import Path

import pydantic
import pytest
import yaml

from perturbcast.cluster import Array, Site, Slurm, Stage, gather_command, stage_command
from perturbcast.cluster.slurm import TaskState
from perturbcast.errors import UsageError

JOB = Path("artifacts/jobs/j")
STAGE = Stage(name="train@a", command="true", inputs=(), outputs=(), after=())
ARRAY = Array(group="train", stages=(STAGE, STAGE, STAGE), after=("split",))


def test_a_bare_site_asks_for_nothing_but_a_core():
    words = stage_command(ARRAY, site=Site(), job=JOB, ids=["7"])
    assert words == [
        "sbatch",
        "--parsable",
        "--job-name=train",
        "--array=0-2",
        "--nodes=1",
        "--ntasks-per-node=1",
        "--cpus-per-task=1",
        "--output=artifacts/jobs/j/logs/train-%a.log",
        "--open-mode=append",
        "--signal=B:USR1@120",
        "--requeue",
        "--dependency=afterok:7",
        "--kill-on-invalid-dep=yes",
        "apptainer/slurm/stage.sbatch",
        "artifacts/jobs/j",
        "train",
    ]


def test_fields_of_a_stage_differ_from_the_defaults():
    site = Site(
        defaults={"partition": "cpu", "time": "1-00:00:00", "memory": "8G"},
        stages={"train": {"partition": "gpu", "gpus": 2, "cpus": 4}},
        at_once=5,
        requeue=False,
    )
    words = stage_command(ARRAY, site=site, job=JOB, ids=[])
    expected = {
        "--partition=gpu",
        "--gpus-per-node=2",
        "--ntasks-per-node=2",
        "--cpus-per-task=4",
        "--mem=8G",
        "--time=1-00:00:00",
    }
    assert expected | {"--array=0-2%5", "--no-requeue"} <= set(words)
    assert not [word for word in words if word.startswith("--dependency")]
    other = stage_command(Array(group="split", stages=(STAGE,), after=()), site=site, job=JOB, ids=[])
    assert {"--partition=cpu", "--array=0-0%5"} <= set(other)
    assert not [word for word in other if word.startswith("--gpus")]


def test_processes_of_a_step_are_one_per_gpu_on_each_machine():
    site = Site(stages={"train": {"nodes": 2, "gpus": 4}, "pretrain": {"processes": 2}})
    words = stage_command(ARRAY, site=site, job=JOB, ids=[])
    assert {"--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4"} <= set(words)
    assert site.resources("pretrain").processes_per_node == 2
    assert site.resources("split").processes_per_node == 1


def test_an_array_that_runs_whatever_became_of_others_asks_as_the_site_says():
    array = Array(group="runs_3", stages=(STAGE,), after=("draw_3",), whatever=True, like="runs")
    words = stage_command(array, site=Site(stages={"runs": {"memory": "9G"}}), job=JOB, ids=["7"])
    assert {"--dependency=afterany:7", "--mem=9G", "--job-name=runs_3"} <= set(words)
    assert "--kill-on-invalid-dep=yes" not in words


def test_the_gathering_job_runs_whatever_became_of_the_others():
    words = gather_command(site=Site(), job=JOB, ids=["7", "8"])
    assert "--dependency=afterany:7:8" in words
    assert words[-2:] == ["apptainer/slurm/gather.sbatch", "artifacts/jobs/j"]


def test_the_example_site_is_one(root):
    site = Site.model_validate(yaml.safe_load((root / "apptainer/slurm/site.example.yaml").read_text()))
    assert site.resources("train").cpus == 8
    assert site.resources("evaluate").cpus == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"defaults": {"partitions": "cpu"}}, "partitions", id="unknown field"),
        pytest.param({"defaults": {"time": "two hours"}}, "time", id="no time"),
        pytest.param({"defaults": {"time": 43200}}, "YAML takes 12:00:00 without them for 43200", id="12:00:00"),
        pytest.param({"defaults": {"memory": 8}}, "it is text, in quotes", id="memory without quotes"),
        pytest.param({"defaults": {"partition": "a, b"}}, "partition", id="two words"),
        pytest.param({"stages": {"train": {"gpu": 1}}}, "gpu", id="unknown field of a stage"),
        pytest.param({"environment": {"A-B": "1"}}, "A-B cannot be one", id="no variable"),
        pytest.param({"grace": 0}, "grace", id="no grace"),
    ],
)
def test_a_wrong_site_is_refused(values, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        Site.model_validate(values)


def test_values_reach_the_shell_as_they_are():
    site = Site(environment={"A": "it's, 1 $HOME"}, binds=("/a b", "/c"), modules=("x/1",))
    text = site.shell(programs=Path("/my env/bin"))
    assert text == (
        "image=''\nbinds=('/a b' /c)\nmodules=(x/1)\nexport PATH='/my env/bin':\"$PATH\"\n"
        "export A='it'\"'\"'s, 1 $HOME'\n"
    )
    assert "PATH" not in Site(image="train.sif").shell(programs=Path("/e/bin")), "the image has its own"


def test_tasks_find_the_environment_that_submits(root, tmp_path):
    """As the guide has it: '.venv/bin/perturbcast submit', and nothing activated."""
    job, programs = tmp_path / "job", tmp_path / "env/bin"
    for folder in (job, programs):
        folder.mkdir(parents=True)
    for name, text in (("perturbcast", 'echo "ran $@"'), ("srun", 'while [ "${1#--}" != "$1" ]; do shift; done; "$@"')):
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)
    (job / "site.sh").write_text(Site().shell(programs=programs))
    done = subprocess.run(
        ["bash", "apptainer/slurm/stage.sbatch", str(job), "train"],
        cwd=root,
        env={"PATH": "/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_JOB_ID": "9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"ran task {job} --group train --number 3\n"), done.stderr


def test_a_machine_without_slurm_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="no 'sbatch' on the path"):
        Slurm().check()


def test_slurm_that_is_not_there_or_does_not_answer_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    with pytest.raises(UsageError, match="no 'squeue' on the path"):
        Slurm().states(["7"])
    hangs = tmp_path / "squeue"
    hangs.write_text("#!/bin/sh\nexec /bin/sleep 20\n")
    hangs.chmod(0o755)
    with pytest.raises(ValueError, match=r"answers within 0.2 s; 'squeue --noheader' did not"):
        Slurm(timeout=0.2).states(["7"])


def test_a_reason_is_kept_of_what_waits_and_of_nothing_else(tmp_path, monkeypatch):
    """As squeue of Debian's 22.05 answers: 'None' where there is none, and reasons of what ended."""
    lines = (
        "7|0|PENDING|PartitionTimeLimit",
        "7|1|PENDING|None",
        "7|2|RUNNING|None",
        "7|3|FAILED|NonZeroExitCode",
        "8|N/A|PENDING|ReqNodeNotAvail, UnavailableNodes:a|b",
    )
    squeue = tmp_path / "squeue"
    squeue.write_text('#!/bin/sh\necho "$*" > asked\n' + "".join(f"echo '{line}'\n" for line in lines))
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    monkeypatch.chdir(tmp_path)
    assert Slurm().states(["7", "8"]) == {
        ("7", 0): TaskState(state="PENDING", reason="PartitionTimeLimit"),
        ("7", 1): TaskState(state="PENDING"),
        ("7", 2): TaskState(state="RUNNING"),
        ("7", 3): TaskState(state="FAILED"),
        ("8", None): TaskState(state="PENDING", reason="ReqNodeNotAvail, UnavailableNodes:a|b"),
    }
    assert "--format=%F|%K|%T|%r --jobs=7,8" in (tmp_path / "asked").read_text()
