"""The objective against closed forms on Gaussian data."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import losses
from components import ConfigError
from configs import base
from denoisers.gaussian_mixture import GaussianMixture
from denoisers.network import PARAMETRIZATIONS
from denoisers.variance import reverse_variance
from likelihood.bounds import PixelDecoder, discrete_bound, uniform_levels
from losses import LossHistory, Objective
from sde_lib import SDES, noise
from sde_lib.cosine import Cosine
from sde_lib.discrete import DDPM
from sde_lib.ve import VE
from sde_lib.vp import VP
from tests.exact import exact_denoiser

VARIANCES = np.array([0.01, 0.1, 1.0, 2.0])
COUNT = 40_000


def _gaussian():
    return GaussianMixture.diagonal([1.0], np.full((1, 4), 0.2), VARIANCES[None], (2, 2, 1))


def _history(noise_levels=100):
    """A history that prefers some times clearly."""
    sizes = 1 + np.sin(np.arange(noise_levels)) ** 2
    return LossHistory(jnp.tile(sizes[:, None], (1, 10)), jnp.full(noise_levels, 10, jnp.int32))


def _floor(sde, t):
    """The error of eps that no denoiser can avoid: snr Var[x_0 | x_t], averaged over dimensions."""
    alpha, sigma = np.asarray(sde.alpha(t))[:, None], np.asarray(sde.sigma(t))[:, None]
    return np.mean(alpha**2 * VARIANCES / (alpha**2 * VARIANCES + sigma**2), axis=1)


def _expected(objective, weighting):
    """The expected loss by quadrature over the density of the times, written from the papers."""
    sde, points = objective.sde, 200_000
    weight = lambda t: np.asarray(losses.WEIGHTINGS[weighting]()(objective, jnp.asarray(t)))  # noqa: E731
    if objective.time_grid == "discrete":
        t = np.arange(1, objective.noise_levels + 1) / objective.noise_levels * sde.t_max
        return np.mean(weight(t) * _floor(sde, t))
    if isinstance(objective.time_sampling, losses.LogNormal):
        low, high = -0.5 * np.asarray(sde.log_snr(jnp.asarray([sde.t_min, sde.t_max])))
        edges = np.linspace(low, high, points + 1)
        mass = np.diff(norm(-1.2, 1.2).cdf(edges))
        t = np.asarray(sde.time_of_log_snr(jnp.asarray(-(edges[1:] + edges[:-1]))))
        tails = norm(-1.2, 1.2).cdf([low, high])
        ends = np.array([sde.t_min, sde.t_max])
        at_ends = weight(ends) * _floor(sde, ends)
        return np.sum(mass * weight(t) * _floor(sde, t)) + tails[0] * at_ends[0] + (1 - tails[1]) * at_ends[1]
    # Every other choice estimates the mean over uniform times; the substitution t = t_min + range u^3
    # resolves the weights that are large near t_min.
    u = (np.arange(points) + 0.5) / points
    t, width = sde.t_min + (sde.t_max - sde.t_min) * u**3, 3 * u**2
    return np.mean(width * weight(t) * _floor(sde, t))


def _weighted_losses(objective, weightings, denoise_with, key=0):
    """Losses [W, COUNT] of the weightings and their slopes in the size of a perturbation, one program."""
    keys = jax.random.split(jax.random.key(key), COUNT)
    history = None if objective.history() is None else _history(objective.noise_levels)

    def everything():
        times = objective.times(keys, jax.random.key(9), jnp.arange(COUNT), COUNT, history)
        x0 = _gaussian().sample(jax.random.key(2), COUNT)

        def by_weighting(bend):
            denoise = denoise_with({"bend": bend})
            return jnp.stack(
                [
                    times.weight
                    * Objective(**{**vars(objective), "weighting": losses.WEIGHTINGS[w]()}).example_losses(
                        keys, denoise, x0, times.t
                    )
                    for w in weightings
                ]
            )

        return jax.jvp(by_weighting, (jnp.zeros(()),), (jnp.ones(()),))

    return map(np.asarray, jax.jit(everything)())


CHOICES = [
    *(("continuous", sampling) for sampling in losses.TIME_SAMPLINGS),
    ("discrete", "uniform"),
    ("discrete", "loss_history"),
]


# Every parametrization with a continuous and a discrete choice of times, and every choice with one of them.
@pytest.mark.parametrize(
    ("time_grid", "sampling", "parametrization"),
    [
        (*choice, name)
        if name == "eps" or choice[1] == "uniform"
        else pytest.param(*choice, name, marks=pytest.mark.slow)
        for choice in CHOICES
        for name in PARAMETRIZATIONS
    ],
)
def test_exact_denoiser_has_the_closed_form_loss_and_no_gradient(time_grid, sampling, parametrization):
    with jax.enable_x64(True):
        # From t_min = 1e-5 uniform times see the likelihood weight, 1/t there, too rarely for a sharp test.
        sde = VP(t_min=1e-2)
        objective = Objective(
            sde,
            time_sampling=losses.TIME_SAMPLINGS[sampling](),
            time_grid=time_grid,
            noise_levels=100,
            low_discrepancy=True,
        )
        weightings = [
            name
            for name, weighting in losses.WEIGHTINGS.items()
            if time_grid == "continuous" or not weighting.needs_continuous_time
        ]
        denoiser = exact_denoiser(_gaussian(), sde, parametrization)
        found, slopes = _weighted_losses(objective, weightings, denoiser.bind)
        for name, values, slope in zip(weightings, found, slopes, strict=True):
            expected, error = _expected(objective, name), values.std() / np.sqrt(COUNT)
            assert abs(values.mean() - expected) < 4 * error, name
            assert abs(slope.mean()) < 4 * slope.std() / np.sqrt(COUNT), name
            # The test must be able to see a wrong factor.
            assert error < 0.05 * expected, name
            assert slope.std() > 0, name


@pytest.mark.parametrize("name", SDES)
def test_every_process_has_the_closed_form_loss(name):
    with jax.enable_x64(True):
        sde = SDES[name]()
        objective = Objective(sde, time_sampling=losses.Importance(), low_discrepancy=True)
        denoiser = exact_denoiser(_gaussian(), sde, "edm")
        found, _ = _weighted_losses(objective, ["likelihood", "log_snr"], denoiser.bind)
        log_snr = np.asarray(sde.log_snr(jnp.asarray([sde.t_min, sde.t_max])))
        levels = jnp.linspace(*log_snr, 20_001)
        even = np.mean(_floor(sde, jnp.clip(sde.time_of_log_snr(levels), sde.t_min, sde.t_max)))
        # E_t g^2/sigma^2 f = int f dlog_snr / range of t.
        expected = {"likelihood": even * (log_snr[0] - log_snr[1]) / (sde.t_max - sde.t_min), "log_snr": even}
        for values, target in zip(found, expected.values(), strict=True):
            assert abs(values.mean() - target) < 4 * values.std() / np.sqrt(COUNT)
            assert values.std() / np.sqrt(COUNT) < 0.02 * target


@pytest.mark.parametrize(
    "sde", [VP(), *(pytest.param(sde, marks=pytest.mark.slow) for sde in (VE(), Cosine()))], ids=str
)
def test_parametrizations_of_one_function_have_one_loss(sde):
    t = jnp.tile(jnp.linspace(0.05, 0.95, 10), 20)
    x0 = _gaussian().sample(jax.random.key(0), 200)
    keys = jax.random.split(jax.random.key(1), 200)

    def found(parametrization):
        denoise = exact_denoiser(_gaussian(), sde, parametrization).bind({"scale": 1.1, "bend": 0.05})
        objectives = [Objective(sde, weighting=weighting()) for weighting in losses.WEIGHTINGS.values()]
        return jax.jit(lambda: [o.example_losses(keys, denoise, x0, t).mean() for o in objectives])()

    reference = found("eps")
    for parametrization in PARAMETRIZATIONS:
        np.testing.assert_allclose(found(parametrization), reference, rtol=1e-5, err_msg=parametrization)


def test_weightings_are_the_published_ones():
    with jax.enable_x64(True):
        sde, t = VP(), jnp.linspace(0.01, 1.0, 40)
        objective = Objective(sde, sigma_data=0.6)
        fields = {"sigmoid": {"bias": -1.0}, "p2": {"k": 2.0, "gamma": 0.7}}
        snr = np.asarray(sde.alpha(t) / sde.sigma(t)) ** 2
        rate = -np.asarray(jax.vmap(jax.grad(sde.log_snr))(t))
        sigma = 1 / np.sqrt(snr)
        # As a factor of |eps - eps_hat|^2, that is, of snr |x_0 - D|^2.
        published = {
            "simple": np.ones_like(snr),
            "likelihood": rate,
            "log_snr": rate / float(sde.log_snr(sde.t_min) - sde.log_snr(sde.t_max)) * (1 - 1e-5),
            "edm": (sigma**2 + 0.6**2) / (sigma * 0.6) ** 2 / snr,
            "min_snr": np.minimum(snr, 5.0) / snr,
            "truncated_snr": np.maximum(snr, 1.0) / snr,
            "p2": 1 / (2.0 + snr) ** 0.7,
            "sigmoid": rate / (1 + np.exp(np.log(snr) + 1.0)),
        }
        for name, weighting in losses.WEIGHTINGS.items():
            found = weighting(**fields.get(name, {}))(objective, t)
            np.testing.assert_allclose(found, published[name], rtol=1e-9, err_msg=name)


def test_score_matching_with_sigma_squared_is_the_simple_loss():
    sde, t = VP(), jnp.full(100, 0.3)
    x0, keys = _gaussian().sample(jax.random.key(0), 100), jax.random.split(jax.random.key(1), 100)
    gaussian = _gaussian()
    found = Objective(sde).example_losses(keys, lambda x, t: gaussian.denoise(sde, x, t), x0, t)
    eps = jax.vmap(lambda key: jax.random.normal(key, (2, 2, 1)))(keys)
    mean, std = sde.marginal(x0, t)
    score = gaussian.denoise(sde, mean + std * eps, t).score
    target = -(eps * std) / std**2
    expected = jnp.mean(std**2 * (score - target) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_reductions_differ_by_half_the_dimension():
    sde, t, gaussian = VP(), jnp.full(10, 0.3), _gaussian()
    x0, keys = gaussian.sample(jax.random.key(0), 10), jax.random.split(jax.random.key(1), 10)
    mean, half_sum = (
        Objective(sde, reduction=r).example_losses(keys, lambda x, t: gaussian.denoise(sde, x, t), x0, t)
        for r in ("mean", "half_sum")
    )
    np.testing.assert_allclose(half_sum, 2.0 * mean, rtol=1e-6)


@pytest.mark.parametrize("sde", [VP(), VE(), SDES["edm"]()], ids=lambda sde: type(sde).__name__)
@pytest.mark.parametrize("low_discrepancy", [False, True])
def test_times_cover_their_range_evenly(sde, low_discrepancy):
    objective = Objective(sde, low_discrepancy=low_discrepancy)
    keys, index = jax.random.split(jax.random.key(0), 4096), jnp.arange(4096)
    t = np.sort(np.asarray(objective.times(keys, jax.random.key(1), index, 4096).t))
    assert t[0] >= sde.t_min * (1 - 1e-6) and t[-1] <= sde.t_max
    gap = np.abs(t - np.linspace(sde.t_min, sde.t_max, 4096)).max() / sde.t_max
    assert gap < (2e-3 if low_discrepancy else 1.63 / np.sqrt(4096))


@pytest.mark.parametrize("sde", [VP(), VE(), SDES["edm"](), SDES["rectified_flow"]()], ids=str)
def test_importance_times_are_uniform_in_log_snr_and_weigh_by_the_density(sde):
    objective = Objective(sde, losses.Likelihood(), losses.Importance(), low_discrepancy=True)
    keys = jax.random.split(jax.random.key(0), 2000)
    times = objective.times(keys, jax.random.key(1), jnp.arange(2000), 2000)
    ends = sde.log_snr(jnp.asarray([sde.t_min, sde.t_max]))
    expected = np.linspace(*ends, 2000)
    gap = np.abs(np.sort(sde.log_snr(times.t))[::-1] - expected).max()
    assert gap < 2e-3 * float(ends[0] - ends[1])
    # Under likelihood weighting nothing is left of either factor (Song et al. 2021b).
    product = times.weight * losses.Likelihood()(objective, times.t)
    np.testing.assert_allclose(product, (ends[0] - ends[1]) / (sde.t_max - sde.t_min), rtol=1e-4)


def test_log_normal_times_have_the_moments_of_edm():
    objective = Objective(SDES["edm"](), time_sampling=losses.LogNormal())
    keys = jax.random.split(jax.random.key(0), 20_000)
    log_sigma = np.log(objective.times(keys, jax.random.key(1), jnp.arange(20_000), 20_000).t)
    assert abs(log_sigma.mean() + 1.2) < 4 * 1.2 / np.sqrt(20_000)
    assert abs(log_sigma.std() - 1.2) < 4 * 1.2 / np.sqrt(40_000)


def test_times_of_a_share_are_those_of_the_whole_batch():
    for sampling, low_discrepancy in itertools.product(losses.TIME_SAMPLINGS.values(), (False, True)):
        objective = Objective(
            VP(), time_sampling=sampling(), low_discrepancy=low_discrepancy, noise_levels=100
        )
        keys, index = jax.random.split(jax.random.key(0), 16), jnp.arange(16)
        whole = objective.times(keys, jax.random.key(1), index, 16, _history())
        share = objective.times(keys[8:], jax.random.key(1), index[8:], 16, _history())
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[8:]), share, whole)


def test_discrete_times_are_the_grid():
    objective = Objective(VP(), time_grid="discrete", noise_levels=10)
    keys = jax.random.split(jax.random.key(0), 1000)
    times = objective.times(keys, jax.random.key(1), jnp.arange(1000), 1000)
    np.testing.assert_allclose(np.unique(np.round(times.t, 6)), np.arange(1, 11) / 10, rtol=1e-6)
    np.testing.assert_allclose(times.t, (times.interval + 1) / 10, rtol=1e-6)


def test_the_loss_history_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    history, rows = LossHistory.empty(7), [[] for _ in range(7)]
    for _ in range(20):
        intervals, values = rng.integers(0, 7, 40) // rng.integers(1, 3), rng.uniform(size=40)
        history = jax.jit(LossHistory.add)(history, jnp.asarray(intervals), jnp.asarray(values))
        for i, value in zip(intervals, values, strict=True):
            rows[i] = [*rows[i], value][-10:]
    for i, row in enumerate(rows):
        np.testing.assert_allclose(np.sort(history.losses[i]), np.sort(np.float32(row)), rtol=1e-6)
    # iDDPM: in proportion to the root mean square, a thousandth of it uniform.
    roots = np.sqrt(np.mean(np.square(rows), axis=1))
    np.testing.assert_allclose(history.probabilities(), 0.999 * roots / roots.sum() + 0.001 / 7, rtol=1e-5)


def test_times_are_uniform_until_the_history_is_full():
    history = LossHistory.empty(4).add(jnp.array([0] * 10 + [1] * 10 + [2] * 10 + [3] * 9), jnp.arange(39.0))
    np.testing.assert_allclose(history.probabilities(), 0.25)
    history = history.add(jnp.array([3]), jnp.array([5.0]))
    assert float(history.probabilities()[0]) < 0.2


def test_times_follow_the_history():
    objective = Objective(VP(), time_sampling=losses.ByLossHistory(), noise_levels=100, low_discrepancy=True)
    keys = jax.random.split(jax.random.key(0), 50_000)
    times = objective.times(keys, jax.random.key(1), jnp.arange(50_000), 50_000, _history())
    share = np.bincount(times.interval, minlength=100) / 50_000
    np.testing.assert_allclose(share, _history().probabilities(), atol=5e-5)
    width = 1 - 1e-5
    inside = (np.asarray(times.t) - 1e-5) / width * 100 - np.asarray(times.interval)
    assert inside.min() > -1e-3 and inside.max() < 1.001


def _hybrid(noise_levels=20, weight=0.001):
    decoder = PixelDecoder(256)
    sde = DDPM(noise_levels=noise_levels, beta_max=10.0)
    return sde, Objective(
        sde,
        time_grid="discrete",
        noise_levels=noise_levels,
        variance_head="fraction",
        variance_weight=weight,
        decoder=decoder,
    )


def _of_bound(objective):
    """The same objective with L_vlb as all of the loss."""
    return Objective(**{**vars(objective), "error": "bound", "variance_weight": 0.0})


def test_hybrid_loss_is_that_of_improved_ddpm():
    # One Gaussian pixel; each term written anew with the betas.
    with jax.enable_x64(True):
        sde, objective = _hybrid()
        gaussian = GaussianMixture.diagonal([1.0], [[0.1]], [[0.2]], (1, 1, 1))
        betas, products = sde.betas, np.cumprod(1 - sde.betas)
        n = np.arange(1, 21)
        t = jnp.asarray(n / 20)
        x0, keys = jnp.full((20, 1, 1, 1), 0.3), jax.random.split(jax.random.key(0), 20)
        denoise = exact_denoiser(gaussian, sde, variance_head="fraction").bind({"raw_fraction": 0.4})
        objectives = objective, _of_bound(objective)
        found, whole = jax.jit(lambda: [o.example_losses(keys, denoise, x0, t) for o in objectives])()

        eps = np.asarray(jax.vmap(lambda k: jax.random.normal(k, (1, 1, 1), jnp.float64))(keys)).ravel()
        x = np.sqrt(products) * 0.3 + np.sqrt(1 - products) * eps
        d = np.asarray(gaussian.denoise(sde, jnp.asarray(x)[:, None, None, None], t).x0).ravel()
        before = np.concatenate([[1.0], products[:-1]])
        small = betas * (1 - before) / (1 - products)
        # iDDPM: the first level borrows the second's small variance.
        log_small = np.log(np.concatenate([small[1:2], small[1:]]))
        variance = np.exp(0.7 * np.log(betas) + 0.3 * log_small)
        step = np.sqrt(before) * betas / (1 - products)
        small[0] = np.nan  # the transition to x_0 has no KL: the decoder takes its place
        kl = 0.5 * (np.log(variance / small) + (small + (step * (0.3 - d)) ** 2) / variance - 1)
        spacing = 2 / 256
        upper, lower = (
            norm.cdf((0.3 - d[0] + s) / np.sqrt(variance[0])) for s in (spacing / 2, -spacing / 2)
        )
        kl[0] = -np.log(upper - lower)
        simple = ((x - np.sqrt(products) * d) / np.sqrt(1 - products) - eps) ** 2
        np.testing.assert_allclose(found, simple + 0.001 * 20 * kl / np.log(2), rtol=1e-6)
        np.testing.assert_allclose(whole, 20 * kl / np.log(2), rtol=1e-6)


def test_the_terms_of_l_vlb_add_up_to_the_discrete_bound_in_value_and_gradient():
    # On the same noise, two pixels of two examples. In the hybrid loss the mean has no gradient of the bound.
    with jax.enable_x64(True):
        sde, objective = _hybrid()
        gaussian = GaussianMixture.diagonal([1.0], [[0.1, -0.2]], [[0.2, 0.5]], (1, 2, 1))
        denoiser = exact_denoiser(gaussian, sde, variance_head="fraction")
        x0, keys = jnp.asarray([0.3, -1.0, 0.5, 0.1]).reshape(2, 1, 2, 1), jax.random.split(jax.random.key(0))
        levels = uniform_levels(sde, 20)

        def bound(params):
            found = discrete_bound(keys, sde, denoiser.bind(params), x0, levels, PixelDecoder(256), "learned")
            return jnp.sum(found.diffusion + found.decoder)

        def mean_over_levels(params):
            of_all = [noise.fold_in(keys, row) for row in range(20)]
            losses = _of_bound(objective).example_losses(
                jnp.concatenate(of_all),
                denoiser.bind(params),
                jnp.tile(x0, (20, 1, 1, 1)),
                jnp.repeat(jnp.asarray(levels), 2),
            )
            return 2 * np.log(2) * jnp.sum(losses) / 20

        params = {"bend": jnp.asarray(0.1), "raw_fraction": jnp.asarray(0.4)}
        found, expected = (jax.jit(jax.value_and_grad(f))(params) for f in (mean_over_levels, bound))
        for ours, theirs in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9)
            assert abs(theirs) > 0.1


def test_times_by_the_loss_history_leave_the_mean_over_levels_as_it_is():
    # The expectation over u is a sum over the pieces of [0, 1) that choose one level each, and not sampled.
    with jax.enable_x64(True):
        _, objective = _hybrid()
        history = _history(20)
        ends = np.cumsum(np.asarray(history.probabilities(), np.float64))
        starts, ends = np.append(0, ends[:-1]) / ends[-1], ends / ends[-1]
        assert np.ptp(ends - starts) > 0.02
        inside = [
            losses.ByLossHistory()(objective, jnp.asarray(u), history) for u in (starts + 1e-6, ends - 1e-6)
        ]
        errors = np.random.default_rng(0).uniform(size=20) * 2.0 ** np.arange(20)
        for times in inside:
            np.testing.assert_array_equal(times.interval, np.arange(20))
            np.testing.assert_allclose(times.t, uniform_levels(objective.sde, 20))
            expectation = np.sum((ends - starts) * times.weight * errors)
            np.testing.assert_allclose(expectation, errors.mean(), rtol=1e-6)


@pytest.mark.slow
def test_the_bound_trains_the_variance_and_not_the_mean():
    with jax.enable_x64(True):
        sde, objective = _hybrid(weight=1.0)
        mixture = GaussianMixture.diagonal([1.0], [[0.1]], [[0.2]], (1, 1, 1))
        denoiser = exact_denoiser(mixture, sde, variance_head="fraction")
        x0, keys = mixture.sample(jax.random.key(1), 500), jax.random.split(jax.random.key(0), 500)
        t = jnp.full(500, 0.5)
        params = {"bend": jnp.asarray(0.1), "raw_fraction": jnp.asarray(0.4)}

        def mean_loss(params, weight):
            chosen = Objective(**{**vars(objective), "variance_weight": weight})
            return chosen.example_losses(keys, denoiser.bind(params), x0, t).mean()

        with_bound, without = (jax.grad(mean_loss)(params, w) for w in (1.0, 0.0))
        np.testing.assert_allclose(with_bound["bend"], without["bend"], rtol=1e-10)
        assert abs(with_bound["raw_fraction"]) > 1e-4 and without["raw_fraction"] == 0


@pytest.mark.parametrize("n", [3, 10, 19])
def test_the_best_learned_variance_is_the_optimal_reverse_variance(n):
    with jax.enable_x64(True):
        sde, objective = _hybrid(weight=1.0)
        mixture = GaussianMixture.diagonal([1.0], [[0.1]], [[0.2]], (1, 1, 1))
        s, t = jnp.full(1, (n - 1) / 20), jnp.full(1, n / 20)
        exact = mixture.denoise(sde, jnp.zeros((1, 1, 1, 1)), t)
        optimal = reverse_variance("optimal", sde, exact, s, t).ravel()[0]
        large, small = sde.transition(t, s)[1][0] ** 2, sde.posterior_coefficients(s, t)[2][0] ** 2
        fraction = jnp.log(optimal / small) / jnp.log(large / small)
        denoiser = exact_denoiser(mixture, sde, variance_head="fraction")
        x0, keys = mixture.sample(jax.random.key(1), COUNT), jax.random.split(jax.random.key(0), COUNT)

        def losses_at(raw):
            return objective.example_losses(
                keys, denoiser.bind({"raw_fraction": raw}), x0, jnp.full(COUNT, n / 20)
            )

        _, slope = jax.jit(lambda raw: jax.jvp(losses_at, (raw,), (jnp.ones(()),)))(2 * fraction - 1)
        assert abs(slope.mean()) < 4 * slope.std() / np.sqrt(COUNT)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weighting.name": "likelihood", "time_grid": "discrete"}, "loss.time_grid"),
        ({"weighting.name": "sigmoid", "time_grid": "discrete"}, "loss.time_grid"),
        ({"time_sampling.name": "importance", "time_grid": "discrete"}, "loss.time_sampling"),
        ({"variance_weight": 0.001}, "denoiser.variance_head"),
        ({"error": "bound", "time_grid": "discrete"}, "denoiser.variance_head=fraction"),
        ({"error": "bound", "time_grid": "discrete", "variance_weight": 1.0}, "loss.variance_weight=0."),
        ({"error": "bound", "time_grid": "discrete", "reduction": "half_sum"}, "bits/dim, unweighted"),
        ({"error": "vlb"}, "loss.error"),
        ({"time_sampling.name": "low_discrepancy"}, "Known: uniform"),
        ({"weighting.name": "min_snr", "weighting.gamma": 0.0}, "gamma=0.0"),
    ],
)
def test_choices_that_exclude_each_other_are_refused(fields, words):
    config = base.get_config()
    config.loss.update_from_flattened_dict(fields)
    with pytest.raises(ConfigError, match=words):
        losses.create(config.loss, VP(), config.denoiser)


def test_levels_of_the_loss_must_be_those_of_the_process():
    config = base.get_config()
    config.loss.time_grid = "discrete"
    with pytest.raises(ConfigError, match="loss.noise_levels=100"):
        losses.create(config.loss, DDPM(noise_levels=100), config.denoiser)
