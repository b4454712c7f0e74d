"""Solvers that choose their steps on the way, and what stochastic samplers end in."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ks_2samp

import samplers
from components import ConfigError
from denoisers.mixtures import Ring
from sde_lib import SDES
from tests.conftest import FUSED, sampling

COUNT = 4_000


LEVEL = 1e-3


@functools.cache
def _exact():
    return np.asarray(Ring().build().sample(jax.random.key(100), 10 * COUNT))


def _p_value(x):
    """Of the hypothesis that x are samples of the ring: Kolmogorov and Smirnov's test of four functions of x.

    Bonferroni's correction for four tests.
    """
    log_prob = jax.jit(Ring().build().log_prob)
    functions = [
        lambda x: x[:, 0],
        lambda x: x[:, 1],
        lambda x: np.linalg.norm(x, axis=1),
        lambda x: np.asarray(log_prob(jnp.asarray(x))),
    ]
    return min(1.0, 4 * min(ks_2samp(f(np.asarray(x)), f(_exact())).pvalue for f in functions))


def _draw(name, count=COUNT, **fields):
    sde, mixture = SDES[name](), Ring().build()
    config = sampling(fields)
    sampler = samplers.create(config, sde).astype(np.float32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(count))

    @functools.partial(jax.jit, compiler_options=FUSED)
    def draw(keys, sampler):
        return sampler.draw(keys, sde, lambda x, t: mixture.denoise(sde, x, t), (2,))

    return draw(keys, sampler)


SMALL_STEPS = ("reverse_diffusion", "euler_maruyama")
STOCHASTIC = {
    "ancestral": {"predictor": "ancestral", "steps": 800, "grid": "vp_time"},
    "sde_dpm_solver++": {"predictor": "sde_dpm_solver++", "steps": 150},
    "sa_solver": {"predictor": "sa_solver", "steps": 100},
    "stochastic_heun": {"predictor": "stochastic_heun", "steps": 150},
    "reverse_diffusion": {"predictor": "reverse_diffusion", "steps": 1000, "grid": "vp_time"},
    "euler_maruyama": {"predictor": "euler_maruyama", "steps": 1000, "grid": "vp_time"},
    "ddim, eta 0.5": {"predictor": "ddim", "eta": 0.5, "steps": 500},
    "edm, churn": {"predictor": "edm", "churn": 20.0, "churn_min": 0.05, "churn_max": 50.0, "steps": 200},
    "restart": {"predictor": "restart", "restart_steps": 10, "steps": 60},
    "default": {"steps": 40},
}
# Most samplers on VP, some on VE; interpolated_cosine lies between two that are tested.
QUICK = {
    "vp": [sampler for sampler in STOCHASTIC if STOCHASTIC[sampler]["steps"] < 1000],
    "ve": ["ancestral", "stochastic_heun", "default"],
}
PAIRS = [
    (sampler, name) if sampler in QUICK.get(name, ()) else pytest.param(sampler, name, marks=pytest.mark.slow)
    for name in SDES
    if name != "interpolated_cosine"
    for sampler in STOCHASTIC
]


@pytest.mark.parametrize(("sampler", "name"), PAIRS)
def test_samples_cannot_be_told_from_exact_ones(sampler, name):
    if name == "rectified_flow" and STOCHASTIC[sampler].get("predictor") in SMALL_STEPS:
        pytest.skip("refused: see test_every_solver_serves_a_process_or_says_why_not")
    assert _p_value(_draw(name, **STOCHASTIC[sampler]).x) > LEVEL


def test_the_two_sample_test_sees_what_is_wrong():
    x = np.asarray(_draw("vp", steps=40).x)
    assert _p_value(1.02 * x) < LEVEL
    coarse = _draw("vp", predictor="ancestral", grid="uniform", steps=30).x
    assert _p_value(coarse) < LEVEL


@pytest.mark.parametrize(
    "corrector",
    [{"corrector": "langevin", "corrector.norm": "batch"}, {"corrector": "annealed_langevin"}],
    ids=str,
)
def test_the_pc_sampler_gives_each_mode_of_the_ring_its_weight(corrector):
    fields = {"predictor": "reverse_diffusion", "steps": 500, "snr": 0.1, **corrector}
    x = np.asarray(_draw("vp", **fields).x)
    angle = np.arctan2(x[:, 1], x[:, 0])
    mode = np.round(angle / (2 * np.pi / 8)).astype(int) % 8
    share = np.bincount(mode, minlength=8) / COUNT
    assert np.abs(share - 1 / 8).max() < 3 * np.sqrt(1 / 8 * 7 / 8 / COUNT)


@pytest.mark.parametrize("name", ["vp", "ve", "edm"])
@pytest.mark.slow
def test_the_adaptive_sde_solver_samples_the_data_and_counts_each_sample_s_calls(name):
    found = _draw(name, predictor="adaptive_sde", relative_tolerance=0.02)
    x, nfe = np.asarray(found.x), np.asarray(found.nfe)
    assert np.isfinite(x).all()
    assert _p_value(x) > LEVEL
    # Two calls a step and the denoising one; every sample has steps of its own.
    assert (nfe % 2 == 1).all() and len(set(nfe.tolist())) > 5
    published = _draw(name, predictor="adaptive_sde", relative_tolerance=0.02, redraw=True)
    assert _p_value(published.x) < 1e-9  # fresh noise after a rejection selects the noise
    loose = np.asarray(_draw(name, predictor="adaptive_sde", relative_tolerance=0.5).nfe)
    assert loose.mean() < 0.6 * nfe.mean()


# At the ode's own tolerance errors are near those of rounding, which differ with the batch and tip steps.
@pytest.mark.parametrize(
    "fields", [{"predictor": "adaptive_sde"}, {"predictor": "ode", "tolerance": 1e-3}], ids=str
)
def test_an_adaptive_sample_does_not_depend_on_its_batch(fields):
    few, many = (_draw("vp", count, **fields) for count in (3, 16))
    np.testing.assert_allclose(few.x, many.x[:3], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(few.nfe, many.nfe[:3])


@pytest.mark.parametrize(
    "method", ["dopri5", *(pytest.param(n, marks=pytest.mark.slow) for n in ("tsit5", "heun"))]
)
def test_the_adaptive_ode_ends_where_the_fine_table_does(method):
    ode = _draw("vp", 64, predictor="ode", method=method, tolerance=1e-6)
    # Another first draw: the table's start has its own number, so compare by a fine run from that start.
    assert np.asarray(ode.nfe).min() > 30
    tight = _draw("vp", 64, predictor="ode", method="dopri8", tolerance=1e-7)
    assert np.median(np.abs(ode.x - tight.x)) < 1e-4


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"predictor": "ode", "method": "rk4"}, "dopri5"),
        ({"predictor": "ode", "tolerance": -1.0}, "tolerance"),
        ({"predictor": "adaptive_sde", "relative_tolerance": 0.0}, "relative_tolerance"),
    ],
)
def test_bad_tolerances_and_methods_are_refused(fields, word):
    config = sampling(fields)
    with pytest.raises(ConfigError, match=word):
        samplers.create(config, SDES["vp"]())


def test_rectified_flow_s_infinite_drift_is_refused_by_the_adaptive_sde_solver():
    config = sampling(predictor="adaptive_sde")
    with pytest.raises(ConfigError, match="drift"):
        samplers.create(config, SDES["rectified_flow"]())
