# ruff: noqa: E402  (thread counts are set before numpy is imported)
"""Shared factories: each test states only what it is about."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from types import SimpleNamespace

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # as the command line does; before numpy is imported

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import settings

from perturbcast.schema import PerturbationData, content_hash

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
# the same examples in every run, on every machine, and nothing kept between runs
settings.register_profile("tests", derandomize=True, deadline=None, database=None)
settings.load_profile("tests")


def _make_data(
    *,
    effects: Mapping[tuple[str, str], Sequence[float]] | None = None,
    contexts: Sequence[str] = ("a", "b", "c"),
    perturbations: Sequence[str] = ("G0", "G1", "G2"),
    genes: int = 6,
    cells: int = 30,
    noise: float = 0.1,
    seed: int = 0,
    batches: int = 0,
    dataset: str = "made",
) -> PerturbationData:
    """Cells around a baseline per context plus an effect per condition.

    ``effects`` maps (perturbation, context) to a delta [gene]; by default G<k> lowers gene k by 0.5. Genes
    are G0, G1, ...; baselines are 2 + context index.
    """
    rng = np.random.default_rng(seed)
    names = [f"G{i}" for i in range(genes)]
    blocks, rows = [], []
    for c, context in enumerate(contexts):
        for perturbation in ("control", *perturbations):
            delta = np.zeros(genes)
            if effects is not None:
                if perturbation != "control" and (perturbation, context) not in effects:
                    continue
                delta += np.asarray(effects.get((perturbation, context), delta))
            else:
                for target in perturbation.split("+"):
                    if target in names:
                        delta[names.index(target)] -= 0.5
            blocks.append(2.0 + c + delta + noise * rng.standard_normal((cells, genes)))
            rows += [(perturbation, context)] * cells
    x = sp.csr_matrix(np.clip(np.concatenate(blocks), 0, None).astype(np.float32))
    obs = pd.DataFrame(rows, columns=["perturbation", "context"])
    obs["is_control"] = obs["perturbation"] == "control"
    if batches:
        obs["batch"] = [f"batch{i % batches}" for i in range(len(obs))]
    obs.index = pd.Index([f"cell{i:05d}" for i in range(len(obs))])
    meta = {
        "dataset": dataset,
        "scale": "log1p(counts per 10 000)",
        "unit": "cell",
        "preprocessing": ["made by a test"],
        "content_hash": content_hash(x, names, obs),
    }
    return PerturbationData(x=x, genes=tuple(names), obs=obs, meta=meta)


@pytest.fixture(scope="session")
def make_data() -> Callable[..., PerturbationData]:
    """Factory of small measured data with known effects."""
    return _make_data


GPL = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)


def _gpl_distributions(found: Iterable[Distribution]) -> list[str]:
    names = []
    for distribution in found:
        metadata = distribution.metadata
        words = [metadata.get("License-Expression") or "", (metadata.get("License") or "").split("\n")[0]]
        words += [line for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")]
        if any(GPL.search(word) for word in words):
            names.append(metadata["Name"].lower())
    return sorted(names)


@pytest.fixture(scope="session")
def gpl_distributions() -> Callable[[Iterable[Distribution]], list[str]]:
    """Names of those distributions that speak of the GPL (the LGPL is not it)."""
    return _gpl_distributions


@pytest.fixture(scope="session")
def gpl_environment() -> Callable[[Path], list[str]]:
    """The same of a virtual environment, or of a folder that packages were installed into."""

    def search(place: Path) -> list[str]:
        packages = list(place.glob("lib/python*/site-packages")) or [place]
        found = list(distributions(path=list(map(str, packages))))
        assert len(found) > 2, f"{place} is no environment"
        return _gpl_distributions(found)

    return search


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real measured data and parity values."""
    if not SHARED.is_dir():
        pytest.skip("../shared (real measured data) is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository root."""
    return ROOT


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """Registers the first two folds of an unseen-context split in an MLflow registry of its own, as model ``made``.

    Gives its client, the data, the versions, and (split, directory, fingerprint) of each; the first is the champion.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/m.db")

    def register(*, kind: str = "control") -> SimpleNamespace:
        from perturbcast import catalog, splits, tracking  # mlflow takes a second, and few tests need it
        from perturbcast.training import fit, save_model

        data, config = _make_data(), catalog.load("models", kind).Config()
        folds = []
        for split in splits.make(data, "unseen_context")[:2]:
            directory = tmp_path / f"fold_{split.fold}"
            saved = save_model(fit(data, split, kind=kind, plugin=kind, config=config, seed=0), directory)
            folds.append((split, directory, saved.fingerprint))
        run = tracking.ModelRun(
            experiment="made",
            kind=kind,
            key="k",
            parameters={},
            metrics={},
            tags={},
            artifacts=(),
            folds=[
                tracking.FoldModel(fold=s.fold, held_out=s.held_out, directory=directory, fingerprint=fingerprint)
                for s, directory, fingerprint in folds
            ],
        )
        client = tracking.connect()
        versions = tracking.log_run(client, run)
        tracking.name_champion(client, "made", versions=versions, rule={})
        return SimpleNamespace(client=client, data=data, folds=folds, versions=versions)

    return register
