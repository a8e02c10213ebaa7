"""What every way of pretraining keeps, also one that is added tomorrow."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import types

import numpy as np
import pytest
import torch

from perturbcast import catalog, encoders
from perturbcast.training.pretraining import pretrain

OBJECTIVES = catalog.names("encoders")
QUICK = {"steps": 20, "every": 10, "batch": 16, "width": 3, "hidden": 6, "learning_rate": 0.01}


def config_of(name, **fields):
    return catalog.configure("encoders", name, QUICK | fields)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_is_documented(name):
    module = catalog.load("encoders", name)
    assert len(module.__doc__.splitlines()[0]) > 20
    documented = (module.Config.__doc__ or "") + (encoders.Pretraining.__doc__ or "")
    for field in dataclasses.fields(module.Config):
        assert f"{field.name}:" in documented, f"{name}.Config.{field.name} is not documented"
    assert module.Config.__dataclass_params__.frozen
    assert issubclass(module.Config, encoders.Pretraining)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gives_a_loss_per_cell_and_its_encoder_keeps_parameters_alone(name):
    config = catalog.load("encoders", name).Config()
    task = catalog.load("encoders", name).build(config, genes=7)
    losses = task(torch.randn(5, 7))
    assert losses.shape == (5,)
    losses.mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in task.encoder.parameters())
    assert list(task.encoder.buffers()) == []
    assert task.encoder(torch.randn(5, 7)).shape == (5, config.width)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_same_seed_gives_the_same_bytes_and_what_is_saved_answers_the_same(name, make_cells, tmp_path):
    cells = make_cells()
    one, two = (pretrain(cells, objective=name, config=config_of(name), seed=0) for _ in range(2))
    other = pretrain(cells, objective=name, config=config_of(name), seed=1)
    for folder, encoder in (("one", one), ("two", two)):
        encoders.save(encoder, tmp_path / folder, curves={"loss": [(1, 0.5)]})
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["config.json", "curves.json", "fingerprint.json", "model.safetensors"], "no pickle"
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert one.hash == two.hash != other.hash
    again = encoders.load(tmp_path / "one")
    assert again.hash == one.hash
    x = cells.x.toarray()[:, [cells.genes.index(gene) for gene in one.genes]]
    vectors = again.encode(x)
    assert vectors.shape == (len(x), again.width)
    np.testing.assert_array_equal(vectors, one.encode(x))
    assert np.abs(vectors - other.encode(x)).max() > 1e-3


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_hangs_together_is_learned_and_noise_is_not(name, make_cells):
    found = {}
    for programmes in (2, 0):
        looks = {}
        cells = make_cells(programmes=programmes, cells=200)
        config = config_of(name, steps=150, every=50, hidden=16, dropout=0.0, held_out=0.4)
        pretrain(cells, objective=name, config=config, seed=0, learner=lambda task, seen=looks: learned(task, seen))
        found[programmes] = looks["value"]
    assert found[2] < 0.6
    assert found[0] > 0.7


def learned(task, seen):
    from perturbcast.nn import descent

    descent.learn(task)
    seen["value"] = task.score(task.network)[1]


def test_the_catalog_lists_without_torch():
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from perturbcast import catalog\n"
        "print(catalog.names('encoders'), catalog.configure('encoders', 'denoising', {'noise': '0.1'}).noise)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "['denoising', 'masked_genes'] 0.1\n"


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("denoising", {"noise": 0.0, "dropped": 0.0}, "A copy without noise teaches to copy"),
        ("masked_genes", {"masked": 1.0}, r"some and not all: .* got 1\.0"),
        ("masked_genes", {"steps": 0, "held_out": 1.0}, r"got steps = 0, held_out = 1\.0"),
    ],
    ids=["no noise", "all masked", "shared"],
)
def test_impossible_parameters_are_refused(name, fields, message):
    with pytest.raises(ValueError, match=message):
        catalog.load("encoders", name).Config(**fields)


def test_denoising_gives_back_every_gene_and_masked_genes_those_alone_that_were_hidden():
    torch.manual_seed(0)
    x = torch.randn(200, 10) + 3
    for name, share in (("denoising", 0.2), ("masked_genes", 0.3)):
        module = catalog.load("encoders", name)
        given, weight = module.build(module.Config(), genes=10).corrupt(x)
        assert (given == 0).float().mean().item() == pytest.approx(share, abs=0.04)
        if name == "denoising":
            assert weight.min() == 1
            assert (given - x)[given != 0].std().item() == pytest.approx(0.5, abs=0.05)
        else:
            assert torch.equal(given == 0, weight == 1)
            assert torch.equal(given[weight == 0], x[weight == 0])


class _Joint(torch.nn.Module):
    """Vectors of the whole cell, by a slow copy of the encoder, predicted from the half that is not hidden."""

    def __init__(self, genes, width):
        super().__init__()
        self.encoder, self.slow = torch.nn.Linear(genes, width), torch.nn.Linear(genes, width)
        self.slow.requires_grad_(False).load_state_dict(self.encoder.state_dict())
        self.predict = torch.nn.Linear(width, width)

    def forward(self, x):
        if self.training:
            for slow, fast in zip(self.slow.parameters(), self.encoder.parameters(), strict=True):
                slow.lerp_(fast.detach(), 0.1)
        hidden = (torch.rand_like(x) < 0.5).to(x.dtype)
        return (self.predict(self.encoder(x * (1 - hidden))) - self.slow(x)).square().mean(dim=1)


def test_another_kind_of_objective_is_one_new_module(make_cells, tmp_path, monkeypatch):
    """A joint embedding that predicts vectors and no genes, from somebody else's distribution."""
    module = types.ModuleType("joint")
    module.Config = encoders.Pretraining
    module.build = lambda config, *, genes: _Joint(genes, config.width)
    monkeypatch.setattr(catalog, "_others", lambda folder: {"joint": types.SimpleNamespace(load=lambda: module)})
    assert "joint" in catalog.names("encoders")
    encoder = pretrain(make_cells(), objective="joint", config=config_of("joint"), seed=0)
    encoders.save(encoder, tmp_path / "joint", curves={})
    x = np.ones((2, 12), dtype=np.float32)
    np.testing.assert_array_equal(encoders.load(tmp_path / "joint").encode(x), encoder.encode(x))
    assert sorted(encoder.weights) == ["bias", "weight"]
