"""Compiled kernels load without numba, take what they were compiled for alone, and cannot reach the Python runtime."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from perturbcast.metrics import native

KERNELS = """
import numpy as np
from perturbcast.metrics.native import kernel
KERNELS = ("add",)

@kernel("float64(float32[::1], int64)")
def add(values, times):
    {body}
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module of kernels with a body, and its name."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    made = []

    def write(name, body):
        (tmp_path / f"{name}.py").write_text(KERNELS.format(body=body))
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)
    native.load.cache_clear()


def test_machine_code_is_kept_and_loaded_without_numba(module, tmp_path):
    name = module("kept_kernels", "return times * values[0]")
    values = np.array([1.5], dtype=np.float32)
    assert native.load(name).add(values, 4) == 6.0
    code = (
        "import sys, numpy as np; from perturbcast.metrics import native; "
        f"print(native.load({name!r}).add(np.array([1.5], dtype=np.float32), 4), 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["6.0", "False"]


def test_changed_source_is_compiled_anew(module, tmp_path):
    values = np.array([1.5], dtype=np.float32)
    assert native.load(module("changed_kernels", "return times * values[0]")).add(values, 4) == 6.0
    native.load.cache_clear()
    del sys.modules["changed_kernels"]
    assert native.load(module("changed_kernels", "return times + values[0] + 0.25")).add(values, 4) == 5.75
    assert len(list((tmp_path / "kept").glob("changed_kernels.*.native"))) == 2


@pytest.mark.parametrize(
    "wrong", [np.ones(3), np.ones((3, 1), dtype=np.float32), np.ones(6, dtype=np.float32)[::2]], ids=str
)
def test_another_type_or_layout_is_refused(module, wrong):
    kernels = native.load(module("typed_kernels", "return times * values[0]"))
    with pytest.raises(TypeError, match=r"Kernel 'add' takes float32\[1\]C where"):
        kernels.add(wrong, 4)


def test_what_allocates_is_refused(module):
    name = module("allocating_kernels", "return np.sort(values)[0] * times")
    with pytest.raises(ValueError, match=r"nothing but arithmetic; those of allocating_kernels call .*NRT"):
        native.load(name)
