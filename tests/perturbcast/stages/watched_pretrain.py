"""``perturbcast pretrain`` for a process of its own that says what it saw, or is killed in the middle of a save.

    python watched_pretrain.py pretrain ...

WATCHED names a folder, to which each process writes ``RANK.json``: the rows it read, its losses and the hash of its
encoder. KILLED_IN_SAVE is the number of the save (from 1) half of which is written when SIGKILL comes.
"""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path

from perturbcast import cli
from perturbcast.stores.cell_reader import CellReader
from perturbcast.training import checkpoints, pretraining

read, pretrain, save = CellReader.batch, pretraining.pretrain, checkpoints.torch.save
rows, saves = [], []


def noted(reader, step):
    batch = read(reader, step)
    rows.append(batch.rows.tolist())
    return batch


def watched(*args, **options):
    encoder = pretrain(*args, **options)
    learner = options["learner"]
    found = {"rows": rows, "losses": learner.history, "looks": learner.looks, "hash": encoder.hash}
    (Path(os.environ["WATCHED"]) / f"{os.environ.get('LOCAL_RANK', '0')}.json").write_text(json.dumps(found))
    return encoder


def killed(checkpoint, file):
    saves.append(1)
    if len(saves) < int(os.environ["KILLED_IN_SAVE"]):
        save(checkpoint, file)
        return
    whole = io.BytesIO()
    save(checkpoint, whole)
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    CellReader.batch, pretraining.pretrain = noted, watched
    if "KILLED_IN_SAVE" in os.environ:
        checkpoints.torch.save = killed
    cli.main()
