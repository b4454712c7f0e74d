"""Optimal trajectories against brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
import samplers
from components import ConfigError, UserError
from configs import base
from denoisers.mixtures import Ring
from evaluation import noise_levels
from likelihood.bounds import DensityDecoder, PixelDecoder, discrete_bound, level_costs, uniform_levels
from samplers import optimal_grid
from samplers.optimal_grid import PairCosts, least_cost_path
from sde_lib.cosine import Cosine
from sde_lib.vp import VP
from workdir.partial import Partial
from workdir.records import Progress


@pytest.mark.parametrize("steps", [2, 3, 5, 8])
@pytest.mark.parametrize("seed", range(5))
def test_the_path_is_that_of_brute_force(steps, seed):
    rng, count = np.random.default_rng(seed), 8
    first, costs = rng.uniform(size=(2, count, count))

    def total(path):
        return first[path[0], path[1]] + sum(costs[a, b] for a, b in itertools.pairwise(path[1:]))

    paths = [(*p, count - 1) for p in itertools.combinations(range(count - 1), steps - 1)]
    expected = min(paths, key=total)
    found, cost = least_cost_path(first, costs, steps)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(cost, total(expected))


def test_too_few_or_too_many_steps_are_refused():
    for steps in (1, 9):
        with pytest.raises(ValueError, match=f"steps={steps}"):
            least_cost_path(np.zeros((8, 8)), np.zeros((8, 8)), steps)


CHOICES = [("small", DensityDecoder()), ("large", PixelDecoder(17)), ("optimal", DensityDecoder())]


@pytest.mark.parametrize(("choice", "decoder"), CHOICES, ids=str)
def test_the_best_path_s_cost_is_its_bound_and_no_worse_than_even_steps(choice, decoder):
    sde, mixture, count, fine = VP(), Ring().build(), 2000, 12
    x0 = mixture.sample(jax.random.key(0), count)
    keys = jax.random.split(jax.random.key(1), count)
    times = uniform_levels(sde, fine)

    def denoise(x, t):
        return mixture.denoise(sde, x, t)

    def of_level(level):
        costs, decoders = level_costs(keys, sde, denoise, x0, times, level, decoder, choice)
        return costs.mean(axis=0), decoders.mean(axis=0)

    costs, decoders = (np.asarray(a) for a in jax.jit(lambda: jax.lax.map(of_level, jnp.arange(fine)))())
    table = PairCosts(times, costs.T + decoders, costs.T, {})
    run = jax.jit(lambda times: discrete_bound(keys, sde, denoise, x0, times, decoder, choice))
    path, cost = table.optimal(4)
    even = np.arange(2, 12, 3)
    for levels, expected in ((path, cost), (even, table.along(even))):
        found = run(times[levels])
        nats = np.asarray(found.diffusion + found.decoder)
        assert abs(nats.mean() - expected) < 5 * nats.std() / np.sqrt(count)
    assert cost <= table.along(even)


def test_the_mode_writes_a_grid_that_samplers_take(tmp_path, capsys):
    arguments = ["main.py", "--config=configs/gaussian_mixture.py:ring", f"--workdir={tmp_path}"]
    small = ["--config.trajectory.levels=16", "--config.trajectory.examples=64"]
    small += ["--config.trajectory.batch_size=32", "--config.trajectory.steps=(4, 8)"]
    small += ["--config.eval.bound_variance=predicted"]
    assert main.main([*arguments, "--mode=trajectory", *small]) == 0
    found = optimal_grid.load(tmp_path / "optimal_trajectory.npz")
    assert found.about["variance"] == "predicted" and np.isfinite(found.about["prior"])
    assert (tmp_path / "optimal_trajectory.png").stat().st_size > 1000
    assert not list(tmp_path.glob("*.parts-*"))
    config = base.get_config().sampling
    path = str(tmp_path / "optimal_trajectory.npz")
    config.update({"predictor": "ancestral", "grid": "optimal", "grid_file": path, "steps": 5})
    table = samplers.create(config, VP()).table
    np.testing.assert_array_equal(table.times, found.times[found.optimal(6)[0]][::-1])
    with pytest.raises(ConfigError, match='sampling.grid="optimal" was measured on VP'):
        samplers.create(config, Cosine())
    config.steps = 16
    with pytest.raises(ConfigError, match="has 16 levels: use sampling.steps from 1 to 15, not 16"):
        samplers.create(config, VP())
    sampling = ["--config.sampling.predictor=ancestral", "--config.sampling.steps=5"]
    sampling += ["--config.sampling.num_samples=16", "--config.sampling.grid=optimal"]
    sampling += [f"--config.sampling.grid_file={path}"]
    capsys.readouterr()
    assert main.main([*arguments, "--mode=sample", *sampling]) == 0
    assert "the best for the variance predicted, and sampling.variance=small" in capsys.readouterr().err
    own = [*sampling, "--config.sampling.variance=predicted"]
    assert main.main([*arguments, "--mode=sample", *own]) == 0
    assert "the best for the variance" not in capsys.readouterr().err
    samples = [*sampling[:-1], f"--config.sampling.grid_file={tmp_path / 'samples.npz'}"]
    assert main.main([*arguments, "--mode=sample", *samples]) == 2
    assert "cannot be read as a file of --mode=trajectory (it holds " in capsys.readouterr().err
    (tmp_path / "optimal_trajectory.npz").write_bytes(b"damaged")
    assert main.main([*arguments, "--mode=sample", *sampling]) == 2
    assert "is not a whole .npz file; --mode=trajectory writes one" in capsys.readouterr().err


def test_a_killed_measurement_is_resumed_for_the_same_question_alone(tmp_path, monkeypatch, capsys):
    arguments = ["main.py", "--config=configs/gaussian_mixture.py:ring", "--mode=trajectory"]
    arguments += ["--config.trajectory.levels=6", "--config.trajectory.examples=32"]
    arguments += ["--config.trajectory.batch_size=16", "--config.trajectory.steps=(3,)"]
    arguments += ["--config.eval.bound_variance=predicted"]
    other = "--config.sampling.variance_average=True"
    for name, flags in (("plain", []), ("other", [other])):
        assert main.main([*arguments, *flags, f"--workdir={tmp_path / name}"]) == 0
    plain, calls = Progress.update, []

    def killed_at_four(self, count, **shown):
        calls.append(count)
        if len(calls) == 4:
            raise KeyboardInterrupt
        plain(self, count, **shown)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "update", killed_at_four)
        for name in ("resumed", "changed"):
            calls.clear()
            assert main.main([*arguments, f"--workdir={tmp_path / name}"]) == 130
    capsys.readouterr()
    assert main.main([*arguments, f"--workdir={tmp_path / 'resumed'}"]) == 0
    assert "4 levels were done before" in capsys.readouterr().err
    assert main.main([*arguments, other, f"--workdir={tmp_path / 'changed'}"]) == 0
    assert "were done before" not in capsys.readouterr().err
    for name, expected in (("resumed", "plain"), ("changed", "other")):
        a, b = (optimal_grid.load(tmp_path / n / "optimal_trajectory.npz") for n in (name, expected))
        np.testing.assert_array_equal(a.first, b.first)


def test_processes_share_the_levels_and_agree(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).uniform(size=(7, 2))
    seen = []

    def of_level(level):
        seen.append(level)
        return {"a": rows[level]}

    def measure():
        return noise_levels.measure(Partial(tmp_path / "x", {}), 7, of_level, "test")

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr("workdir.partial.wait_for_all", lambda name: None)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with pytest.raises(UserError, match="4 of 7 rows"):
        measure()  # the other process has measured nothing yet
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    np.testing.assert_array_equal(measure()["a"], rows)
    assert seen == [1, 3, 5, 0, 2, 4, 6]
    np.testing.assert_array_equal(measure()["a"], rows)
    assert len(seen) == 7


def test_a_level_that_is_not_finite_stops_the_measurement_and_is_not_kept(tmp_path):
    def of_level(level):
        return {"a": np.array([np.nan if level == 2 else level])}

    with pytest.raises(UserError, match="not finite at level 2"):
        noise_levels.measure(Partial(tmp_path / "x", {}), 4, of_level, "test")
    seen = []
    noise_levels.measure(
        Partial(tmp_path / "x", {}), 4, lambda k: seen.append(k) or {"a": np.ones(1)}, "test"
    )
    assert seen == [2, 3]
