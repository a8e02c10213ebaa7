"""What travels to TorchServe and back, the archive, and the handler without a TorchServe around it."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from perturbcast import splits
from perturbcast.models.linear import Config
from perturbcast.training import fit, save_model
from torchserve_backend import packing
from torchserve_backend.archive import write_archive

COMMAND = str(Path(sys.executable).with_name("perturbcast"))


@pytest.fixture(scope="module")
def model(make_data, tmp_path_factory):
    data = make_data()
    directory = tmp_path_factory.mktemp("models") / "linear"
    split = splits.make(data, "unseen_context", seed=1)[0]
    saved = save_model(fit(data, split, kind="linear", plugin="linear", config=Config(components=2), seed=0), directory)
    return types.SimpleNamespace(trained=saved, directory=directory, held_out=split.held_out)


@pytest.fixture
def archive(model, tmp_path):
    write_archive(model.directory, tmp_path / "m.mar", name="m")
    return tmp_path / "m.mar"


@pytest.fixture
def handler(archive, tmp_path, monkeypatch):
    """The handler as TorchServe has it: unpacked, with its folder on the path."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "unpacked")
    monkeypatch.syspath_prepend(str(tmp_path / "unpacked"))
    monkeypatch.delitem(sys.modules, "packing", raising=False)
    spec = importlib.util.spec_from_file_location("handler", tmp_path / "unpacked" / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.Handler()
    made.initialize(types.SimpleNamespace(system_properties={"model_dir": str(tmp_path / "unpacked")}))
    yield made
    sys.modules.pop("packing", None)


def test_messages_come_back_equal():
    arrays = {
        "x": np.random.default_rng(0).standard_normal((2, 3)),
        "b": np.array([True, False]),
        "n": np.zeros((0, 4)),
    }
    body, back = packing.unpack(packing.pack({"é": [1, None]}, arrays))
    assert body == {"é": [1, None]}
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array, strict=True)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\1\0",
        b"\xff\0\0\0{}",
        struct.pack("<I", 4) + b"null"[:2],
        packing.pack({}, {"x": np.zeros(4)})[:-1],
    ],
    ids=["empty", "length", "json", "json-cut", "array-cut"],
)
def test_a_message_that_is_cut_is_refused(message):
    with pytest.raises(ValueError, match=r"ends? before"):
        packing.unpack(message)


def test_the_archive_is_the_same_for_the_same_model_and_holds_no_pickle(model, archive, tmp_path):
    write_archive(model.directory, tmp_path / "again.mar", name="m")
    assert (tmp_path / "again.mar").read_bytes() == archive.read_bytes()
    with zipfile.ZipFile(archive) as file:
        names = set(file.namelist())
        manifest = json.loads(file.read("MAR-INF/MANIFEST.json"))
    assert manifest["model"] == {"modelName": "m", "handler": "handler.py", "modelVersion": "1.0"}
    assert names == {"MAR-INF/MANIFEST.json", "handler.py", "packing.py"} | {
        f"model/{path.name}" for path in model.directory.iterdir()
    }
    assert not [name for name in names if name.endswith((".pkl", ".pt", ".pth", ".bin"))]


def test_a_changed_model_directory_is_not_packed(model, tmp_path):
    copy = tmp_path / "changed"
    copy.mkdir()
    for path in model.directory.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "calibration.json").write_text("{}")
    with pytest.raises(ValueError, match=r"calibration.json does not have the sha256"):
        write_archive(copy, tmp_path / "m.mar", name="m")
    assert not (tmp_path / "m.mar").exists()


def ask(handler, model, *pairs, means=None, fingerprint=None, levels=None):
    body = {"fingerprint": fingerprint or model.trained.fingerprint, "conditions": pairs, "levels": levels}
    return {"message": bytearray(packing.pack(body, means or {}))}


def test_the_handler_answers_each_request_of_a_batch_and_a_bad_one_fails_alone(handler, model):
    stored = next(iter(model.trained.control_means))
    mean = np.linspace(1, 2, len(model.trained.genes))
    replies = handler.handle(
        [
            ask(handler, model, ["G0", stored]),
            ask(handler, model, ["G0", "nowhere"]),
            ask(handler, model, ["G1", model.held_out], means={model.held_out: mean}),
            ask(handler, model, ["G1", model.held_out], means={model.held_out: mean[:2]}),
            ask(handler, model, ["G0", stored], fingerprint="other"),
            ask(handler, model, ["G0", stored], levels=[0.5]),
        ],
        None,
    )
    bodies, arrays = zip(*map(packing.unpack, replies), strict=True)
    direct = model.trained.predict(
        [model.trained.train_conditions[0].__class__("G1", model.held_out)], control_means={model.held_out: mean}
    )
    np.testing.assert_array_equal(arrays[2]["delta"], direct.delta)
    np.testing.assert_array_equal(arrays[2]["interval 0.9"], direct.intervals[0.9])
    assert "was not in training" in bodies[1]["unanswerable"]
    assert [body["levels"] for body in (bodies[0], bodies[5])] == [[0.5, 0.8, 0.9, 0.95], [0.5]]
    assert [name for name in arrays[5] if name.startswith("interval")] == ["interval 0.5"]
    assert bodies[3] == {"defect": "see the log of TorchServe"}
    assert "the archive holds" in bodies[4]["defect"]
    assert arrays[0]["seen"].tolist() == [[True, True, True]]


def test_export_of_the_command_line(model, tmp_path):
    out = tmp_path / "linear.mar"
    words = [COMMAND, "export", "--format", "torchserve", "--out", out, model.directory]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == f"{out}: model linear, fingerprint {model.trained.fingerprint}\n", done.stderr
    assert zipfile.is_zipfile(out)
    for wrong, says in ((["--out", tmp_path / "x.zip"], "NAME.mar"), (["--format", "onnx"], "Formats are torchserve")):
        done = subprocess.run([*words, *wrong], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2
        assert says in done.stderr
