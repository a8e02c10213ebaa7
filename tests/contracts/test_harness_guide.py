"""The loop of the guide for harness authors runs as it is printed."""

from __future__ import annotations

import re

import numpy as np

from perturbcast_client.testing import FakeServer


def test_the_loop_can_be_pasted(root):
    guide = (root / "docs" / "guides" / "harness.md").read_text()
    (loop,) = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    assert len([line for line in loop.splitlines() if line]) == 10
    with FakeServer() as server:
        loop = loop.replace("127.0.0.1:50051", server.address).replace('"NAME"', '"fake"')
        names = {
            "todo": [("A+B", "T cells"), ("STAT1", "T cells")],
            "controls": {"T cells": np.ones((4, 3))},
            "genes": ("ISG15", "STAT1", "CD3D"),
        }
        exec(loop, names)
    assert {key: cells.shape for key, cells in names["predicted"].items()} == {
        ("A+B", "T cells"): (100, 3),
        ("STAT1", "T cells"): (100, 3),
    }
