"""The model's own batched forward in a process of its own, run as a script: prints conditions per second.

    python forward.py MODEL_DIRECTORY CONDITIONS WHAT

WHAT is ``all`` (what the predict stage computes) or ``delta`` (no intervals: what the load asks for). The process has
the server's settings of allocator and BLAS threads, so that the ratio is about serving and nothing else.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from perturbcast.training import load_model
from prediction_service.allocator import keep_freed_memory

BATCH = 256


def main() -> None:
    directory, count, what = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    keep_freed_memory()
    model = load_model(directory)
    asked = list(model.train_conditions)
    many = [asked[i % len(asked)] for i in range(count)]
    levels = None if what == "all" else ()
    with threadpool_limits(1, user_api="blas"):
        model.predict(many[:BATCH], levels=levels)
        started = time.perf_counter()
        for at in range(0, count, BATCH):
            model.predict(many[at : at + BATCH], levels=levels)
        print(count / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
