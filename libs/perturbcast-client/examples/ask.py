"""Ask a prediction service for a list of conditions; needs numpy and perturbcast-client, nothing else.

    python ask.py 127.0.0.1:50051 QUESTION_FOLDER ANSWER.npz

QUESTION_FOLDER holds ``question.json`` ({"model", "conditions": [[perturbation, context], ...], "genes"}) and one
``controls_*.npz`` (context, expression [cell, gene]) for each context whose controls the model does not store.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from perturbcast_client import Condition, Wanted, connect


def main(address: str, folder: Path, answer: Path) -> None:
    """Send the question, keep the reply."""
    question = json.loads((folder / "question.json").read_text())
    controls = {}
    for file in sorted(folder.glob("controls_*.npz")):
        with np.load(file) as arrays:
            controls[str(arrays["context"])] = arrays["expression"]
    with connect(address) as client:
        replies = list(
            client.predict_stream(
                question["model"],
                [Condition.from_label(perturbation, context) for perturbation, context in question["conditions"]],
                controls=controls,
                genes=question["genes"] if controls else (),
                wanted=Wanted(variance=True, interval_level=0.9),
                chunk_size=100,  # 5 000 genes and 4 tensors of doubles: 16 MB per reply, of the 64 that are allowed
            )
        )
    names = ("delta", "variance", "lower", "upper")
    tensors: Any = {name: np.concatenate([getattr(reply, name) for reply in replies]) for name in names}
    seen = np.array([[s.perturbation, s.context, s.pair] for reply in replies for s in reply.seen])
    np.savez(answer, seen=seen, **tensors)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
