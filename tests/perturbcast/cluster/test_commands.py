"""What SLURM is given, word for word, and what a site may say."""

from pathlib import Path

import pydantic
import pytest
import yaml

from perturbcast.cluster import Array, Site, Slurm, Stage, gather_command, stage_command
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
    rest = "binds=('/a b' /c)\nmodules=(x/1)\nexport A='it'\"'\"'s, 1 $HOME'\n"
    assert site.shell(programs=Path("/e v")) == f"image=''\nexport PATH='/e v':$PATH\n{rest}"
    # an image has a path of its own
    held = site.model_copy(update={"image": "a.sif"})
    assert held.shell(programs=Path("/e v")) == f"image=a.sif\n{rest}"


def test_a_machine_without_slurm_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="no 'sbatch' on the path"):
        Slurm().check()
