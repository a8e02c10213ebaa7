"""Mechanism families: finite, varying, driven by their parents, and the traps that each has fallen into."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast import catalog
from perturbcast.errors import UsageError
from perturbcast.simulation.families import mechanism_family
from perturbcast.simulation.mechanisms import fourier, gpcde, mixture, mlp, pnl, square
from perturbcast.simulation.mechanisms.batch import Batch
from perturbcast.simulation.noise import NOISES, draw_noise

FAMILIES = catalog.names("simulation.mechanisms")
SEEDS = range(200)


def built(family, *, seed, n_parents=3, n=400, **fields):
    generator = np.random.default_rng(seed)
    parents, noise = generator.standard_normal((n_parents, n)), generator.standard_normal(n)
    module = mechanism_family(family)
    batch = Batch(parents=parents, noise=noise)
    mechanism = module.build(module.Config(**fields), batch=batch, generator=generator)
    return mechanism, parents, noise


@pytest.mark.parametrize("family", FAMILIES)
def test_finite_varying_and_moved_by_every_parent_on_200_seeds(family):
    for seed in SEEDS:
        mechanism, parents, noise = built(family, seed=seed)
        values = mechanism(parents, noise)
        sd = values.std()
        assert np.isfinite(values).all()
        assert sd > 1e-3
        assert np.unique(values.round(6)).size > 0.5 * values.size, f"seed {seed} is nearly constant"
        for parent in range(3):
            step = np.zeros((3, 1))
            step[parent] = 1
            # Two steps, because one may be a whole period of the periodic family.
            change = max(abs(mechanism(parents + by * step, noise) - values).mean() / sd for by in (1, 0.37))
            assert change > 0.05, f"seed {seed}: parent {parent} moves its child by {change:.3g} sd"


@pytest.mark.parametrize("family", FAMILIES)
def test_same_arguments_give_the_same_bytes(family):
    mechanism, parents, noise = built(family, seed=3)
    again, _, _ = built(family, seed=3)
    assert mechanism(parents, noise).tobytes() == again(parents, noise).tobytes()


def test_mlp_keeps_its_signal_share():
    shares = []
    for seed in range(40):
        network, _, _ = built("mlp", seed=seed, n=2000)
        generator = np.random.default_rng(1000 + seed)
        x = generator.standard_normal((3, 4000))
        a, b = (network(x, generator.standard_normal(4000)) for _ in range(2))
        shares.append(np.corrcoef(a, b)[0, 1])
    assert np.mean(shares) == pytest.approx(mlp.Config().signal, abs=0.05)
    assert np.std(shares) < 0.08


def test_mlp_noise_is_not_additive():
    network, _, _ = built("mlp", seed=0)
    x = np.array([[-2.0, 2.0]] * 3)
    effect = network(x, np.ones(2)) - network(x, -np.ones(2))
    assert abs(effect[0] - effect[1]) > 0.05 * abs(effect).max()


def test_fourier_features_have_the_squared_exponential_kernel():
    generator = np.random.default_rng(0)
    points = np.array([[0.0, 1.0, 2.0]])
    draws = np.array(
        [fourier.draw_fourier(1, generator, amplitude=1.0, lengthscale=1.5, n_features=64)(points) for _ in range(4000)]
    )
    expected = np.exp(-(np.array([0.0, 1.0, 2.0]) ** 2) / (2 * 1.5**2))
    np.testing.assert_allclose(draws.T @ draws[:, 0] / len(draws), expected, atol=0.06)


def test_gpcde_features_have_the_rational_quadratic_kernel():
    config = gpcde.Config(alpha=1.0, lengthscale=(1.5, 1.5))
    batch = Batch(parents=np.zeros((1, 2)), noise=np.zeros(2))
    draws = np.array(
        [
            gpcde.build(config, batch=batch, generator=np.random.default_rng(seed))(
                np.array([[0.0, 1.0, 3.0]]), np.zeros(3)
            )
            for seed in range(4000)
        ]
    )
    expected = 1 / (1 + np.array([0.0, 1.0, 3.0]) ** 2 / (2 * 1.5**2))
    np.testing.assert_allclose(draws.T @ draws[:, 0] / len(draws), expected, atol=0.06)


def test_exact_gpcde_uses_the_whole_covariance():
    # With the diagonal alone every row would be independent, and neighbours would differ by 2 variances.
    parents = np.linspace(-2, 2, 400)[None]
    for seed in range(20):
        module = mechanism_family("gpcde")
        draw = module.build(
            module.Config(exact=True),
            batch=Batch(parents=parents, noise=parents[0]),
            generator=np.random.default_rng(seed),
        )
        values = draw(parents, np.zeros(400))
        assert np.diff(values).var() < 0.01
        assert values.std() > 0.1


def test_square_and_cube_stay_finite_far_out():
    far = np.full((3, 10), 1e200)
    assert np.isfinite(built("square", seed=0)[0](far, np.zeros(10))).all()
    assert np.isfinite(built("pnl", seed=0, links=("cube",))[0](far / 1e190, far[0])).all()
    assert square.Config().bound == pnl.Config().bound == 4.0


@pytest.mark.parametrize("family", ["square", "periodic", "logistic_map"])
def test_parents_of_another_scale_are_refused(family):
    module = mechanism_family(family)
    with pytest.raises(ValueError, match=rf"{family!r} is defined for parents of unit variance; their sd runs from 5"):
        module.build(
            module.Config(),
            batch=Batch(parents=5.25 * np.random.default_rng(0).standard_normal((2, 1000)), noise=np.zeros(1000)),
            generator=np.random.default_rng(0),
        )


def test_heteroscedastic_spread_follows_the_parents():
    ratios = []
    for seed in range(30):
        mechanism, _, _ = built("heteroscedastic", seed=seed, n_parents=1)
        x = np.linspace(-2, 2, 9)[None]
        spread = abs(mechanism(x, np.ones(9)) - mechanism(x, -np.ones(9))) / 2
        ratios.append(spread.max() / spread.min())
    assert np.median(ratios) > 1.5


@pytest.mark.parametrize("noise", NOISES)
def test_noise_has_mean_0_and_variance_1(noise):
    draws = draw_noise(noise, (400_000,), np.random.default_rng(0))
    assert abs(draws.mean()) < 0.01
    assert draws.var() == pytest.approx(1, abs=0.06 if noise == "student_t" else 0.01)


def test_noises_differ_in_tails():
    kurtosis = [
        np.mean(draw_noise(n, (100_000,), np.random.default_rng(0)) ** 4) for n in ("uniform", "gaussian", "laplace")
    ]
    np.testing.assert_allclose(kurtosis, [1.8, 3.0, 6.0], rtol=0.1)


def test_unknown_noise_is_refused():
    with pytest.raises(UsageError, match="'cauchy' is not"):
        draw_noise("cauchy", (2,), np.random.default_rng(0))


def test_mixture_draws_by_node_or_by_graph():
    config = mixture.Config(families=("linear", "gp"), proportions=(3.0, 1.0))
    names = mixture.assign(config, 2000, np.random.default_rng(0))
    assert names.count("linear") / 2000 == pytest.approx(0.75, abs=0.04)
    one = mixture.Config(families=("linear", "gp"), per="graph")
    assert {len(set(mixture.assign(one, 50, np.random.default_rng(s)))) for s in range(10)} == {1}
    assert len({mixture.assign(one, 1, np.random.default_rng(s))[0] for s in range(10)}) == 2


def test_mixture_of_itself_is_refused():
    with pytest.raises(UsageError, match="names 'mixture' itself"):
        mixture.Config(families=("linear", "mixture"))
