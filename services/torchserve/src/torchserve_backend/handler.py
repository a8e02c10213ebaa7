"""What runs inside TorchServe: answers through the code of the ``predict`` stage, so that numbers are equal.

TorchServe unpacks the archive and imports this file as a top-level module, beside ``packing`` and the folder ``model``.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from packing import pack, unpack  # type: ignore[import-not-found]  # lies beside this file in the archive

from perturbcast.errors import UnanswerableError
from perturbcast.schema import Condition
from perturbcast.training import load_model

logger = logging.getLogger(__name__)


class Handler:
    """One model in one worker process of TorchServe."""

    def initialize(self, context: Any) -> None:
        """Load the model directory of the archive after checking it against its fingerprint."""
        self._model = load_model(Path(context.system_properties["model_dir"]) / "model")

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """One reply per request of the batch; a bad one fails alone."""
        return [self._answer(bytes(row["message"])) for row in data]

    def _answer(self, message: bytes) -> bytes:
        body, means = unpack(message)
        if body["fingerprint"] != self._model.fingerprint:
            return pack({"defect": f"the archive holds {self._model.fingerprint}"}, {})
        conditions = [Condition(*pair) for pair in body["conditions"]]
        try:
            predicted = self._model.predict(conditions, control_means=means, levels=body["levels"])
        except UnanswerableError as error:
            return pack({"unanswerable": str(error)}, {})
        except Exception:  # told as a defect of this request; the worker and the rest of the batch live on
            logger.exception("defect")
            return pack({"defect": "see the log of TorchServe"}, {})
        intervals = {f"interval {level!r}": half for level, half in predicted.intervals.items()}
        arrays = {name: getattr(predicted, name) for name in ("delta", "variance", "control", "seen")}
        if predicted.ood_score is not None:
            arrays["ood_score"] = predicted.ood_score
        return pack({"notes": predicted.notes, "levels": list(predicted.intervals)}, {**arrays, **intervals})
