"""Optimal trajectories against brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
import samplers
from components import ConfigError, UserError
from denoisers.mixtures import Ring
from evaluation import noise_levels
from likelihood.bounds import DensityDecoder, PixelDecoder, discrete_bound, level_costs, uniform_levels
from samplers.optimal_grid import PAIR_COSTS_FILE, PairCosts, least_cost_path
from sde_lib.cosine import Cosine
from sde_lib.vp import VP
from tests.conftest import sampling
from workdir.files import read_measured
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
    table = PairCosts(times, costs.T + decoders, costs.T)
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
    small = ["--config.optimal_grid.levels=16", "--config.optimal_grid.examples=64"]
    small += ["--config.optimal_grid.batch_size=32", "--config.optimal_grid.steps=(4, 8)"]
    small += ["--config.eval.bound.variance=predicted"]
    assert main.main([*arguments, "--mode=optimal_grid", *small]) == 0
    path, field = str(tmp_path / "optimal_grid.npz"), "sampling.grid.file"
    file = read_measured(path, PAIR_COSTS_FILE, field)
    found, files = PairCosts(**file.arrays), {field: file}
    assert file.origin["variance"] == "predicted" and np.isfinite(file.origin["prior"])
    assert (tmp_path / "optimal_grid.png").stat().st_size > 1000
    assert not list(tmp_path.glob("*.parts-*"))
    config = sampling({"predictor": "ancestral", "grid": "optimal", "grid.file": path, "steps": 5})
    table = samplers.create(config, VP(), files=files).table
    np.testing.assert_array_equal(table.times, found.times[found.optimal(6)[0]][::-1])
    with pytest.raises(ConfigError, match='sampling.grid.name="optimal" was made for VP'):
        samplers.create(config, Cosine(), files=files)
    config.steps = 16
    with pytest.raises(ConfigError, match="has 16 levels: use sampling.steps from 1 to 15, not 16"):
        samplers.create(config, VP(), files=files)
    flags = ["--config.sampling.predictor=ancestral", "--config.sampling.steps=5"]
    flags += ["--config.sampling.num_samples=16", "--config.sampling.grid=optimal"]
    flags += [f"--config.sampling.grid.file={path}"]
    capsys.readouterr()
    assert main.main([*arguments, "--mode=sample", *flags]) == 0
    assert "the best for the variance predicted, and sampling.variance.name=small" in capsys.readouterr().err
    own = [*flags, "--config.sampling.variance=predicted"]
    assert main.main([*arguments, "--mode=sample", *own]) == 0
    assert "the best for the variance" not in capsys.readouterr().err
    samples = [*flags[:-1], f"--config.sampling.grid.file={tmp_path / 'samples.npz'}"]
    assert main.main([*arguments, "--mode=sample", *samples]) == 2
    assert "cannot be read as a file of --mode=optimal_grid (it holds " in capsys.readouterr().err
    (tmp_path / "optimal_grid.npz").write_bytes(b"damaged")
    assert main.main([*arguments, "--mode=sample", *flags]) == 2
    assert "is not a whole .npz file; --mode=optimal_grid writes one" in capsys.readouterr().err


def test_a_killed_measurement_is_resumed_for_the_same_question_alone(tmp_path, monkeypatch, capsys):
    arguments = ["main.py", "--config=configs/gaussian_mixture.py:ring", "--mode=optimal_grid"]
    arguments += ["--config.optimal_grid.levels=6", "--config.optimal_grid.examples=32"]
    arguments += ["--config.optimal_grid.batch_size=16", "--config.optimal_grid.steps=(3,)"]
    arguments += ["--config.eval.bound.variance=predicted"]
    other = "--config.eval.bound.variance.average=True"
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
        a, b = (
            read_measured(tmp_path / n / "optimal_grid.npz", PAIR_COSTS_FILE, "").arrays["first"]
            for n in (name, expected)
        )
        np.testing.assert_array_equal(a, b)


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
