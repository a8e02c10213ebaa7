"""``perturbcast serve`` in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("perturbcast"))


@pytest.fixture
def serve_process(tmp_path):
    """``with serve_process(words) as (process, address)``; killed at the end of the block."""

    @contextlib.contextmanager
    def serving(*words):
        ready = tmp_path / "ready"
        process = subprocess.Popen([COMMAND, "serve", "--port", "0", "--ready-file", ready, *words])
        try:
            for _ in range(300):
                if ready.is_file():
                    break
                assert process.poll() is None
                time.sleep(0.1)
            yield process, ready.read_text().strip()
        finally:
            process.kill()
            process.wait()

    return serving


@pytest.fixture
def start_serve(serve_process):
    """``with start_serve(words) as address``."""

    @contextlib.contextmanager
    def start(*words):
        with serve_process(*words) as (_, address):
            yield address

    return start
