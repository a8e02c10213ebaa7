"""Which stages become which arrays."""

import dataclasses

import pytest

from perturbcast.cluster import Plan, Stage, make_plan, needed, unmade
from perturbcast.errors import UsageError


def make_stage(name, *after):
    return Stage(name=name, command=f"run {name}", inputs=(), outputs=(f"out/{name}",), after=after)


STAGES = [
    make_stage("report", "evaluate@a", "evaluate@b"),
    make_stage("evaluate@a", "train@a"),
    make_stage("evaluate@b", "train@b"),
    make_stage("train@a", "import"),
    make_stage("train@b", "import"),
    make_stage("import"),
]
EVERY_OUTPUT = [path for stage in STAGES for path in stage.outputs]


def names(stages):
    return [stage.name for stage in stages]


def test_nothing_runs_where_nothing_changed():
    assert needed(STAGES, changed=[], present=EVERY_OUTPUT) == []


def test_a_changed_stage_brings_what_lies_behind_it_and_nothing_beside():
    assert names(needed(STAGES, changed=["train@b"], present=EVERY_OUTPUT)) == ["train@b", "evaluate@b", "report"]


def test_a_missing_output_is_made_again():
    present = [path for path in EVERY_OUTPUT if path != "out/evaluate@a"]
    assert names(needed(STAGES, changed=[], present=present)) == ["evaluate@a", "report"]


def test_targets_bring_what_they_need_and_not_what_follows():
    assert names(needed(STAGES, changed=names(STAGES), present=[], targets=["train"])) == [
        "import",
        "train@a",
        "train@b",
    ]
    assert names(needed(STAGES, changed=names(STAGES), present=[], targets=["evaluate@a"])) == [
        "import",
        "train@a",
        "evaluate@a",
    ]


def test_unknown_targets_are_refused():
    with pytest.raises(UsageError, match=r"stages of dvc.yaml; trian unknown. Known: import, train, evaluate, report"):
        needed(STAGES, changed=[], present=[], targets=["trian"])


def test_inputs_that_no_stage_makes_are_named():
    reads = ("out/import/part.csv", "out", "code.py", "out/imported")
    stage = dataclasses.replace(make_stage("train@c"), inputs=reads)
    assert unmade([STAGES[0], stage], STAGES) == {"train@c": ["code.py", "out/imported"]}


def test_arrays_hold_one_group_each_and_wait_for_those_before():
    plan = make_plan(needed(STAGES, changed=["import"], present=EVERY_OUTPUT), commit="c" * 40, params="p")
    assert [(array.group, array.after) for array in plan.arrays] == [
        ("import", ()),
        ("train", ("import",)),
        ("evaluate", ("train",)),
        ("report", ("evaluate",)),
    ]
    assert names(plan.array("train").stages) == ["train@a", "train@b"]
    with pytest.raises(UsageError, match="'predict' is none of import, train"):
        plan.array("predict")


def test_an_array_does_not_wait_for_what_is_not_submitted():
    plan = make_plan(needed(STAGES, changed=["evaluate@a"], present=EVERY_OUTPUT), commit="c", params="p")
    assert [(array.group, array.after) for array in plan.arrays] == [("evaluate", ()), ("report", ("evaluate",))]


def test_groups_that_wait_for_each_other_are_refused():
    tangled = [make_stage("a@1"), make_stage("b@1", "a@1"), make_stage("a@2", "b@1")]
    with pytest.raises(ValueError, match="a, b wait for each other"):
        make_plan(tangled, commit="c", params="p")


def test_a_plan_survives_json_and_keeps_its_name():
    plan = make_plan(STAGES, commit="c" * 40, params="p")
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.name == plan.name
    assert make_plan(STAGES, commit="d" * 40, params="p").name != plan.name
