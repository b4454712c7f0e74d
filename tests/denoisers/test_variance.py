"""Optimal reverse variances against closed forms, Monte Carlo and each other."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
import samplers
from components import ConfigError
from denoisers import chain
from denoisers.gaussian_mixture import GaussianMixture
from denoisers.mixtures import Digits, Ring, TwoMoons
from denoisers.variance import MOMENTS_FILE, Analytic, Bounded, Jacobian, Measured, reverse_variance
from likelihood.bounds import DensityDecoder, discrete_bound, uniform_levels
from modes.variance import Moments
from samplers.moments import moments
from samplers.solvers.predictors import Ancestral
from samplers.spread import with_spread
from samplers.time_grids import LogSNR
from sde_lib import SDES
from sde_lib.vp import VP
from tests.conftest import sampling
from workdir.files import read_measured

PROCESSES = ("vp", "ve", "subvp", "cosine")
S, T = 0.3, 0.5


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def _at(t, count=1):
    return jnp.full(count, t)


@pytest.mark.parametrize("name", SDES)
def test_the_variance_of_one_gaussian_is_that_of_its_joint_law(name, float64):
    sde, m, v = SDES[name](), 0.3, 0.25
    mixture = GaussianMixture.diagonal([1.0], np.full((1, 1), m), np.full((1, 1), v))
    # x_s = alpha_s x_0 + sigma_s e, and x_t = scale x_s + std e': condition the joint Gaussian.
    alpha, sigma = float(sde.alpha(jnp.float64(S))), float(sde.sigma(jnp.float64(S)))
    scale, std = (float(c) for c in sde.transition(jnp.float64(T), jnp.float64(S)))
    var_s = alpha**2 * v + sigma**2
    expected = var_s - (scale * var_s) ** 2 / (scale**2 * var_s + std**2)
    x = jnp.array([[0.7]])
    prediction = mixture.denoise(sde, x, _at(T))
    found = reverse_variance("optimal", sde, prediction, _at(S), _at(T))
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("name", SDES)
@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_the_variance_of_ddim_s_family_is_that_of_its_joint_law(name, eta, float64):
    sde, v = SDES[name](), 0.25
    alpha_s, alpha_t, sigma_s, sigma_t = (
        float(f(jnp.float64(u))) for f in (sde.alpha, sde.sigma) for u in (S, T)
    )
    # Song et al. (2020), eq. 7, as a linear map of the independent (x_0, e_t, z).
    w = eta * sigma_s / sigma_t * np.sqrt(sigma_t**2 - (alpha_t / alpha_s) ** 2 * sigma_s**2)
    basis = np.diag([v, 1.0, 1.0])
    x_t = np.array([alpha_t, sigma_t, 0])
    x_s = np.array([alpha_s, np.sqrt(sigma_s**2 - w**2), w])
    expected = x_s @ basis @ x_s - (x_s @ basis @ x_t) ** 2 / (x_t @ basis @ x_t)
    np.testing.assert_allclose(x_s @ np.diag([0, 1, 1]) @ x_s, sigma_s**2)  # the same marginal
    mixture = GaussianMixture.diagonal([1.0], np.zeros((1, 1)), np.full((1, 1), v))
    prediction = mixture.denoise(sde, jnp.array([[0.7]]), _at(T))
    found = reverse_variance("optimal", sde, prediction, _at(S), _at(T), eta)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_variance_of_a_mixture_is_that_of_weighted_samples(name, eta, float64):
    sde, mixture, count = SDES[name](), TwoMoons().build(), 400_000
    x0 = mixture.sample(jax.random.key(0), count)
    x = sde.marginal(x0[:1], _at(T))[0] + sde.sigma(T) * 0.5
    # x_s given x_t = x: x_0 weighed by the density of x, then one draw of q(x_s | x_t, x_0).
    mean, std = sde.marginal(x0, _at(T, count))
    log_weight = -0.5 * jnp.sum(((x - mean) / std) ** 2, axis=1)
    weight = jax.nn.softmax(log_weight)[:, None]
    from_xt, from_x0, noise = sde.posterior_coefficients(jnp.float64(S), jnp.float64(T), eta)
    xs = from_xt * x + from_x0 * x0 + noise * jax.random.normal(jax.random.key(1), x0.shape)
    center = jnp.sum(weight * xs, axis=0)
    squares = (xs - center) ** 2
    estimate = jnp.sum(weight * squares, axis=0)
    error = jnp.sqrt(jnp.sum(weight**2 * (squares - estimate) ** 2, axis=0))
    prediction = mixture.denoise(sde, x, _at(T))
    found = reverse_variance("optimal", sde, prediction, _at(S), _at(T), eta)[0]
    assert (error < 0.1 * estimate).all()
    assert (jnp.abs(found - estimate) < 4 * error).all()


@pytest.mark.parametrize(("name", "case"), [*((name, Ring()) for name in PROCESSES), ("vp", Digits())])
def test_the_jacobian_is_the_exact_covariance(name, case, float64):
    sde, mixture = SDES[name](), case.build()
    x0 = mixture.sample(jax.random.key(0), 3)
    for t in (0.1, 0.5, 0.9):
        t = _at(t, 3)
        x = sde.marginal(x0, t)[0] + sde.sigma(t[0]) * jax.random.normal(jax.random.key(1), x0.shape)
        exact = mixture.denoise(sde, x, t).x0_variance

        def denoise(x, t):
            return mixture.denoise(sde, x, t)

        found = jax.jit(Jacobian(0)(denoise))(x, t).x0_variance
        np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-8 * float(exact.max()))


def test_random_probes_of_the_jacobian_are_unbiased():
    sde, mixture, count = VP(), Digits().build(), 200
    x = mixture.sample(jax.random.key(0), 1)
    # The probes depend on the time: times next to each other are independent repetitions.
    times = 0.5 + 1e-5 * jnp.arange(count)
    wrapped = jax.jit(Jacobian(4)(lambda x, t: mixture.denoise(sde, x, t)))
    found = np.stack([wrapped(x, t[None]).x0_variance[0] for t in times]).reshape(count, -1)
    exact = np.asarray(mixture.denoise(sde, x, _at(0.501)).x0_variance[0]).reshape(-1)
    z = (found.mean(axis=0) - exact) / (found.std(axis=0, ddof=1) / np.sqrt(count) + 1e-3 * exact)
    assert found.std(axis=0).max() > 0.1 * exact.max()  # they do differ
    assert np.abs(z).max() < 4.5


@pytest.mark.parametrize("name", PROCESSES)
def test_the_analytic_estimate_is_the_mean_of_the_exact_variance(name):
    sde, mixture, count = SDES[name](), Ring().build(), 50_000
    x0 = mixture.sample(jax.random.key(0), count)
    for level in (-2.0, 1.0, 4.0):
        t = sde.time_of_log_snr(_at(level, count))
        mean, std = sde.marginal(x0, t)
        x = mean + std * jax.random.normal(jax.random.key(1), x0.shape)
        prediction = mixture.denoise(sde, x, t)
        ratio = float(sde.sigma(t[0]) / sde.alpha(t[0])) ** 2
        by_norm = ratio * (1 - prediction.eps**2)
        exact = prediction.x0_variance
        # Both averages over the same states: their difference has a small standard error.
        difference = np.asarray(by_norm - exact).mean(axis=1)
        assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(count)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_bounds_of_the_paper_hold(name):
    sde, mixture = SDES[name](), Ring().build()
    x0 = mixture.sample(jax.random.key(0), 1000)
    for t in (0.05, 0.3, 0.7, 0.99):
        s, t = _at(0.8 * t, 1000), _at(t, 1000)
        x = sde.marginal(x0, t)[0] + sde.sigma(t[0]) * jax.random.normal(jax.random.key(1), x0.shape)
        prediction = mixture.denoise(sde, x, t)
        found = reverse_variance("optimal", sde, prediction, s, t)
        _, c, w = (float(a[0]) for a in sde.posterior_coefficients(s, t))
        ratio = float(sde.sigma(t[0]) / sde.alpha(t[0])) ** 2
        assert (found >= w**2).all()
        # On average (theorem 2): what the noise leaves open, and what bounded data can vary.
        assert found.mean() <= w**2 + c**2 * min(ratio, 1.4**2)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("fields", [{"predictor": "ancestral"}, {"predictor": "ddim", "eta": 0.5}], ids=str)
@pytest.mark.parametrize("steps", [3, 10, 100])
def test_one_gaussian_is_sampled_exactly_with_the_optimal_variance_and_no_other(name, fields, steps):
    sde = SDES[name]()
    config = sampling({**fields, "steps": steps, "grid": "log_snr", "final_denoise": False})
    small = samplers.create(config, sde).table
    config.variance.name = "predicted"
    table = samplers.create(config, sde).table
    # From the true marginal at t_max, so that the prior's own error does not count.
    mean, v = 0.0, 0.25
    ends = np.array([sde.t_max, sde.sampling_t_min])
    with jax.enable_x64(True):
        start, end = np.asarray(sde.alpha(ends)) ** 2 * v + np.asarray(sde.sigma(ends)) ** 2
    _, found = moments(sde, table, mean, v, start)
    np.testing.assert_allclose(found, end, rtol=1e-6)
    assert abs(moments(sde, small, mean, v, start)[1] / end - 1) > 1e-3
    slipped = table.replace(spread=1.01 * table.spread)
    assert abs(moments(sde, slipped, mean, v, start)[1] / end - 1) > 1e-6


def _covariance_of_the_chain(sde, times, data, choice, eta):
    """Covariance at times[-1] of a chain that begins as x_t at times[0], and the exact one, by NumPy."""
    identity = np.eye(len(data))
    alpha, sigma = np.asarray(sde.alpha(times)), np.asarray(sde.sigma(times))
    marginals = alpha[:, None, None] ** 2 * data + sigma[:, None, None] ** 2 * identity
    coefficients = np.transpose(sde.posterior_coefficients(times[1:], times[:-1], eta))
    forward = np.asarray(sde.transition(times[:-1], times[1:])[1])
    found = marginals[0]
    for step, (from_xt, from_x0, std) in enumerate(coefficients):
        slope = alpha[step] * data @ np.linalg.inv(marginals[step])
        unknown = data - alpha[step] * slope @ data
        added = {
            "whole": std**2 * identity + from_x0**2 * unknown,
            "by dimension": std**2 * identity + from_x0**2 * np.diag(np.diag(unknown)),
            "small": std**2 * identity,
            "large": forward[step] ** 2 * identity,
        }[choice]
        move = from_xt * identity + from_x0 * slope
        found = move @ found @ move.T + added
    return found, marginals[-1]


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("steps", [3, 10, 25])
def test_a_gaussian_s_covariance_needs_all_of_the_optimal_one_unless_it_is_diagonal(name, steps):
    sde = SDES[name]()
    correlated, diagonal = np.array([[0.5, 0.3], [0.3, 0.4]]), np.diag([0.5, 0.04])
    with jax.enable_x64(True):
        ends = np.array([sde.t_max, sde.sampling_t_min])
        levels = np.linspace(*np.asarray(sde.log_snr(jnp.asarray(ends))), steps + 1)
        times = sde.time_of_log_snr(jnp.asarray(levels))

        def error(data, choice, eta=1.0):
            found, exact = _covariance_of_the_chain(sde, times, data, choice, eta)
            return np.linalg.norm(found - exact) / np.linalg.norm(exact)

        for eta in (0.0, 0.5, 1.0):
            assert error(correlated, "whole", eta) < 1e-8
            assert error(diagonal, "by dimension", eta) < 1e-8
            assert error(correlated, "by dimension", eta) > 1e-3
        for choice in ("small", "large"):
            assert error(correlated, choice) > 1e-3 and error(diagonal, choice) > 1e-3


def test_solvers_with_a_history_are_refused():
    for fields in (
        {"predictor": "dpm_solver++"},
        {"predictor": "sde_dpm_solver++", "order": 2},
        {"predictor": "edm"},
        {"predictor": "stochastic_heun"},
    ):
        config = sampling({**fields, "variance": "predicted"})
        with pytest.raises(ConfigError, match='sampling.variance.name="predicted"'):
            samplers.create(config, VP())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sampling.variance": "optimal"}, ['sampling.variance.name="optimal"', "analytic"]),
        ({"sampling.variance": "predicted"}, ['"predicted"', "jacobian"]),
        ({"sampling.variance": "learned"}, ['"learned"', "denoiser.variance_head"]),
        ({"sampling.variance": "analytic"}, ["sampling.variance", "file=", "--mode=variance"]),
        ({"sampling.variance": "jacobian", "sampling.variance.probes": -1}, ["probes=-1"]),
        ({"sampling.variance.file": "a.npz"}, ["sampling.variance.file", '"small"']),
        (
            {"sampling.variance": "large", "sampling.variance.pixels": -1.0},
            ["sampling.variance", "pixels=-1.0"],
        ),
        ({"sampling.variance.pixels": 2.0}, ["sampling.variance.pixels", '"small"']),
        ({"sampling.variance": "large", "sampling.predictor": "ode"}, ['"ode"', "sampling.variance"]),
        ({"sampling.variance.average": True}, ["sampling.variance.average", '"small"']),
        ({"sampling.variance.probes": 4}, ["sampling.variance.probes", '"small"']),
        ({"sampling.variance": "large", "sampling.predictor": "none"}, ['"none" does not move', "ancestral"]),
        (
            {
                "sampling.variance": "heuristic",
                "sampling.predictor": "euler_maruyama",
                "sampling.predictor.probability_flow": True,
            },
            ["probability_flow", "Euler's method"],
        ),
        ({"sampling.grid": "optimal"}, ["sampling.grid", "file=", "--mode=optimal_grid"]),
        ({"mode": "variance", "variance.levels": 1}, ["variance.levels=1"]),
        ({"mode": "eval", "eval.bound.variance": "analytic"}, ["eval.bound.variance", "file="]),
        (
            {"mode": "optimal_grid", "optimal_grid.spacing": "even"},
            ["optimal_grid.spacing", "uniform, log_snr"],
        ),
        ({"mode": "optimal_grid", "optimal_grid.steps": (1,)}, ["optimal_grid.steps=(1,)"]),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields, words, capsys):
    fields = {"sampling.predictor": "ancestral", "sampling.corrector": "none", **fields}
    mode = fields.pop("mode", "sample")
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    flags += ["--config.eval.evaluators=discrete_bound"] * (mode == "eval")
    arguments = ["main.py", "--config=configs/digits.py", "--workdir=/proc/nowhere", f"--mode={mode}"]
    assert main.main([*arguments, *flags]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    for word in words:
        assert word in error


@pytest.mark.parametrize("choice", ["small", "large", "learned"])
def test_a_run_draws_each_step_with_the_variance_that_is_chosen(choice):
    # One step of the table from a fixed state, against variance.reverse_variance.
    sde, count, fraction = VP(), 40_000, 0.3
    mixture = Ring().build()
    config = sampling({"predictor": "ancestral", "variance": choice, "grid": "explicit", "times": (1.0, 0.6)})
    config.final_denoise = False
    sampler = samplers.create(config, sde).astype(np.float32)
    start = jnp.broadcast_to(jnp.array([0.4, -0.8]), (count, 2))

    def denoise(x, t):
        return mixture.denoise(sde, x, t).replace(variance_fraction=jnp.full(x.shape, fraction))

    denoised = chain.wrap(sampler.wrappers, denoise)
    keys = jax.random.split(jax.random.key(0), count)
    x = samplers.sample(keys, sde, denoised, (2,), sampler.table, start=start).x
    expected = reverse_variance(choice, sde, denoise(start[:1], _at(1.0)), _at(0.6), _at(1.0))
    np.testing.assert_allclose(
        x.var(axis=0), np.broadcast_to(expected, (1, 2))[0], rtol=4 * np.sqrt(2 / count)
    )


def test_the_last_noisy_step_is_limited():
    config = sampling({"predictor": "ancestral", "variance": "large", "variance.pixels": 2.0, "steps": 10})
    limited = samplers.create(config, VP(), (-1.0, 1.0)).table
    config.variance.pixels = None
    free = samplers.create(config, VP(), (-1.0, 1.0)).table
    # The paper's bound for data in [-1, 1], on the step before the last call alone.
    np.testing.assert_allclose(limited.noise[-1], 2 / 255 * 2 * np.sqrt(np.pi / 2))
    assert limited.noise[-1] < free.noise[-1]
    np.testing.assert_array_equal(limited.noise[:-1], free.noise[:-1])
    optimal = sampling(
        {"predictor": "ancestral", "variance": "predicted", "variance.pixels": 2.0, "steps": 10}
    )
    most = samplers.create(optimal, VP(), (-1.0, 1.0)).table.most
    np.testing.assert_allclose(most[-2], limited.noise[-1] ** 2)
    assert np.isinf(np.delete(most, -2)).all()


def test_a_spread_leaves_the_last_denoising_alone():
    sde = VP()
    times = LogSNR()(sde, 8)
    with_mean = with_spread(sde, Ancestral()(sde, times), times[-1])
    without = with_spread(sde, Ancestral()(sde, times, final_denoise=False), times[-1])
    assert with_mean.spread[-1] == 0 and with_mean.closing_noise == 0
    assert without.spread[-1] > 0 and with_mean.spread[0] == without.spread[0] == 0
    assert str(with_mean).count("std(x0)") == 8 and "std(x0)" not in str(Ancestral()(sde, times))
    np.testing.assert_array_equal(with_mean.spread[1:-1], without.spread[1:])


def _bounds(name, case, steps):
    """Nats of the transitions of the chain, each example under each variance, from the same noises."""
    sde, mixture, count = SDES[name](), case.build(), 20_000
    x0 = mixture.sample(jax.random.key(0), count)
    keys = jax.random.split(jax.random.key(1), count)

    def exact(x, t):
        return mixture.denoise(sde, x, t)

    denoisers = {
        "small": ("small", exact),
        "large": ("large", exact),
        "one for each time": ("optimal", _mean_variance(sde, mixture, exact)),
        "one for each state": ("optimal", Bounded(average=True)(exact)),
        "by dimension": ("optimal", exact),
    }
    times, decoder = uniform_levels(sde, steps), DensityDecoder()
    return {
        label: np.asarray(
            jax.jit(
                lambda x0, choice=choice, denoise=denoise: (
                    discrete_bound(keys, sde, denoise, x0, times, decoder, choice).total
                )
            )(x0),
            np.float64,
        )
        for label, (choice, denoise) in denoisers.items()
    }


def _mean_variance(sde, mixture, exact):
    """The denoiser with the mean of x_0's variance over states and dimensions: Analytic in the limit."""
    with jax.enable_x64(False):
        log_snr = jnp.linspace(*sde.log_snr(jnp.asarray([sde.t_max, sde.t_min])), 200)
        x0 = mixture.sample(jax.random.key(5), 4000)
        eps = jax.random.normal(jax.random.key(6), x0.shape)

        def shrink(level):
            t = sde.time_of_log_snr(jnp.full(len(x0), level))
            mean, std = sde.marginal(x0, t)
            return jnp.mean((exact(mean + std * eps, t).eps - eps) ** 2)

        return Analytic(log_snr, jax.lax.map(shrink, log_snr))(exact)


@pytest.mark.parametrize(
    ("name", "case", "steps"),
    [
        ("vp", Ring(), 10),
        ("cosine", TwoMoons(), 25),
        *(
            pytest.param(*rest, marks=pytest.mark.slow)
            for rest in [
                ("vp", Ring(), 25),
                ("cosine", TwoMoons(), 10),
                *(("vp", Digits(), k) for k in (10, 25)),
            ]
        ),
    ],
    ids=str,
)
def test_the_bound_is_best_under_the_optimal_variances(name, case, steps):
    found = _bounds(name, case, steps)
    order = ["by dimension", "one for each state", "one for each time"]
    for better, worse in itertools.pairwise(order):
        difference = found[worse] - found[better]
        error = difference.std() / np.sqrt(len(difference))
        assert difference.mean() > 4 * error, (better, worse)
    for ddpm in ("small", "large"):
        difference = found[ddpm] - found["one for each time"]
        assert difference.mean() > 4 * difference.std() / np.sqrt(len(difference)), ddpm


def _measured(workdir):
    return Measured(**read_measured(workdir / "variance.npz", MOMENTS_FILE, "sampling.variance.file").arrays)


def test_the_measured_table_is_the_exact_variance_and_is_sampled_from(tmp_path, capsys):
    arguments = ["--config=configs/gaussian_mixture.py:ring", f"--workdir={tmp_path}"]
    small = ["--config.variance.levels=20", "--config.variance.examples=4000"]
    assert main.main(["main.py", *arguments, "--mode=variance", *small]) == 0
    measured = _measured(tmp_path)
    sde, mixture = VP(), Ring().build()
    x0 = mixture.sample(jax.random.key(3), 20_000)
    for level, (norm, residual), errors in zip(
        measured.log_snr, measured.moments, measured.errors, strict=True
    ):
        t = sde.time_of_log_snr(jnp.full(len(x0), level))
        mean, std = sde.marginal(x0, t)
        exact = mixture.denoise(sde, mean + std * jax.random.normal(jax.random.key(4), x0.shape), t)
        unexplained = np.asarray(exact.x0_variance).mean(axis=1) * np.exp(level)
        own = unexplained.std() / np.sqrt(len(x0))
        assert abs(1 - norm - unexplained.mean()) < 4.5 * np.hypot(own, errors[0])
        assert abs(residual - unexplained.mean()) < 4.5 * np.hypot(own, errors[1])
    assert (tmp_path / "variance.png").stat().st_size > 1000

    flags = ["--config.sampling.predictor=ancestral", "--config.sampling.steps=10"]
    flags += ["--config.sampling.num_samples=64", "--config.sampling.variance=analytic_residual"]
    assert main.main(["main.py", *arguments, "--mode=sample", *flags]) == 2
    assert "sampling.variance" in capsys.readouterr().err
    path = f"--config.sampling.variance.file={tmp_path / 'variance.npz'}"
    assert main.main(["main.py", *arguments, "--mode=sample", *flags, path]) == 0
    evaluation = [*arguments, "--mode=eval", "--config.eval.bound.variance=predicted"]
    evaluation += ["--config.eval.evaluators=continuous_bound"]
    assert main.main(["main.py", *evaluation]) == 2
    assert "Add discrete_bound to eval.evaluators" in capsys.readouterr().err
    (tmp_path / "variance.npz").write_bytes(b"damaged")
    assert main.main(["main.py", *arguments, "--mode=sample", *flags, path]) == 2
    assert "is not a whole .npz file; --mode=variance writes one" in capsys.readouterr().err


def test_a_killed_measurement_goes_on_and_ends_with_the_same_numbers(tmp_path, monkeypatch, capsys):
    flags = ["--config=configs/gaussian_mixture.py:ring", "--mode=variance"]
    flags += [
        "--config.variance.levels=6",
        "--config.variance.examples=64",
        "--config.variance.batch_size=16",
    ]
    assert main.main(["main.py", *flags, f"--workdir={tmp_path / 'whole'}"]) == 0
    plain, levels = Moments.__call__, []

    def killed_at_four(self, params, level, t):
        if len(levels) == 3:
            raise KeyboardInterrupt
        levels.append(int(level))
        return plain(self, params, level, t)

    parts = ["main.py", *flags, f"--workdir={tmp_path / 'parts'}"]
    with monkeypatch.context() as patch:
        patch.setattr(Moments, "__call__", killed_at_four)
        assert main.main(parts) == 130
    assert main.main(parts) == 0
    assert "3 levels were done before" in capsys.readouterr().err
    whole, resumed = (_measured(tmp_path / part) for part in ("whole", "parts"))
    np.testing.assert_array_equal(resumed.moments, whole.moments)
    np.testing.assert_array_equal(resumed.errors, whole.errors)
