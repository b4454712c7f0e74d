"""Solvers as tables against textbook loops, the identities between them, and their orders."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from components import ConfigError
from denoisers.gaussian_mixture import GaussianMixture
from denoisers.mixtures import Ring
from samplers.moments import moments
from samplers.solvers.adams import Adams
from samplers.solvers.ddim import DDIM
from samplers.solvers.deis import DEIS
from samplers.solvers.dpm_solver import DPMSolver, DPMSolverFast
from samplers.solvers.dpm_solver_plus_plus import Multistep, SingleStep, Stochastic
from samplers.solvers.edm import EDM
from samplers.solvers.pndm import PNDM
from samplers.solvers.predictors import Ancestral, EulerMaruyama, ReverseDiffusion, StochasticHeun
from samplers.solvers.restart import Restart
from samplers.solvers.sa_solver import SASolver
from samplers.solvers.unipc import UniPC
from samplers.table import Table, sample
from samplers.tape import Solver, Tape, points_at
from samplers.time_grids import LogSNR, Power, Rho, VPTime
from sde_lib import SDES, probability_flow
from tests.conftest import sampling
from tests.samplers import textbook

BATCH, SHAPE, HISTORY = 4, (2,), 13


@functools.cache
def _problem(name):
    """SDE, denoiser and the compiled loop on a smooth mixture, in float64."""
    sde, mixture = SDES[name](), Ring(components=3, spread=0.6).build()
    compiled = jax.jit(
        lambda keys, table, x: sample(keys, sde, _denoise(name, mixture), SHAPE, table, start=x).x
    )
    return sde, mixture, compiled


def _denoise(name, mixture):
    return lambda x, t: mixture.denoise(SDES[name](), x, t)


def _padded(table, rows=1):
    """The table with a longer history, and rows that change nothing, so that few programs are compiled."""
    extra, idle = HISTORY - table.history, -table.rows % rows

    def pad(a):
        return np.concatenate([a, np.zeros((*a.shape[:-1], extra))], axis=-1)

    def pad_rows(a, row):
        return np.concatenate([np.broadcast_to(row, (idle, *a.shape[1:])), a])

    # Idle rows come first, where what is remembered of their calls is not yet used.
    state = np.eye(1 + HISTORY)[0]
    return Table(
        times=pad_rows(table.times, table.times[0]),
        move=pad_rows(pad(table.move), state),
        noise=pad_rows(table.noise, 0.0),
        look=pad_rows(pad(table.look), state),
        record=pad_rows(table.record, table.record[0]),
        closing_move=pad(table.closing_move),
        closing_noise=table.closing_noise,
    )


def _start(sde, count=BATCH):
    return sde.prior_std * np.random.default_rng(1).standard_normal((count, *SHAPE))


def _sampled(name, table, count=BATCH, rows=1):
    sde, _, compiled = _problem(name)
    keys = jax.random.split(jax.random.key(0), count)
    return np.asarray(compiled(keys, _padded(table, rows), jnp.asarray(_start(sde, count))))


def _looped(name, loop, times):
    """A textbook loop from the same start with the same noise, denoised at the end."""
    sde, mixture, _ = _problem(name)
    keys = jax.random.split(jax.random.key(0), BATCH)
    denoise = jax.jit(_denoise(name, mixture))
    run = textbook.Run(keys, sde, denoise, SHAPE, jnp.asarray(_start(sde)))
    return np.asarray(run.x0(loop(run, times), times[-1])), run.calls


TEXTBOOK = {
    "reverse_diffusion": (ReverseDiffusion(), textbook.reverse_diffusion, {}),
    "reverse_diffusion flow": (ReverseDiffusion(True), textbook.reverse_diffusion, {"flow": True}),
    "ancestral": (Ancestral(), textbook.ancestral, {}),
    "ancestral flow": (Ancestral(True), textbook.ddim, {"eta": 0.0}),
    "euler_maruyama": (EulerMaruyama(), textbook.euler_maruyama, {}),
    "euler_maruyama flow": (EulerMaruyama(True), textbook.euler_maruyama, {"flow": True}),
    "stochastic_heun": (StochasticHeun(), textbook.stochastic_heun, {}),
    "ddim": (DDIM(), textbook.ddim, {"eta": 0.0}),
    "ddim eta 0.7": (DDIM(0.7), textbook.ddim, {"eta": 0.7}),
    "edm euler": (EDM(1), textbook.edm, {"order": 1}),
    "edm heun": (EDM(2), textbook.edm, {"order": 2}),
    "edm churn": (
        EDM(2, 3.0, 0.05, 20.0, 1.003),
        textbook.edm,
        {"order": 2, "churn": 3.0, "churn_min": 0.05, "churn_max": 20.0, "churn_noise": 1.003},
    ),
    "dpm_solver 1": (DPMSolver(1), textbook.dpm_solver, {"orders": [1] * 7}),
    "dpm_solver 2": (DPMSolver(2), textbook.dpm_solver, {"orders": [2] * 7}),
    "dpm_solver 3": (DPMSolver(3), textbook.dpm_solver, {"orders": [3] * 7}),
    "dpm_solver++_single 2": (SingleStep(2), textbook.plus_plus_single, {"order": 2}),
    "dpm_solver++_single 3": (SingleStep(3), textbook.plus_plus_single, {"order": 3}),
    "dpm_solver++ 1": (Multistep(1), textbook.plus_plus_multi, {"order": 1, "published": False}),
    "dpm_solver++ 2": (Multistep(2), textbook.plus_plus_multi, {"order": 2, "published": False}),
    "dpm_solver++ 2 p": (Multistep(2, True), textbook.plus_plus_multi, {"order": 2, "published": True}),
    "dpm_solver++ 3": (Multistep(3), textbook.plus_plus_multi, {"order": 3, "published": False}),
    "dpm_solver++ 3 p": (Multistep(3, True), textbook.plus_plus_multi, {"order": 3, "published": True}),
    "sde_dpm_solver++ 1": (
        Stochastic(1),
        textbook.plus_plus_multi,
        {"order": 1, "published": False, "tau": 1.0},
    ),
    "sde_dpm_solver++ 2 p": (
        Stochastic(2, True),
        textbook.plus_plus_multi,
        {"order": 2, "published": True, "tau": 1.0},
    ),
    "sde_dpm_solver++ 3": (Stochastic(3), textbook.sa_solver, {"order": 3, "corrector_order": 0, "tau": 1.0}),
    "unipc 1": (UniPC(1), textbook.unipc, {"order": 1, "variant": "bh2"}),
    "unipc 2": (UniPC(2), textbook.unipc, {"order": 2, "variant": "bh2"}),
    "unipc 2 bh1": (UniPC(2, "bh1"), textbook.unipc, {"order": 2, "variant": "bh1"}),
    "unipc 3": (UniPC(3), textbook.unipc, {"order": 3, "variant": "bh2"}),
    "unipc 4": (UniPC(4), textbook.unipc, {"order": 4, "variant": "bh2"}),
    "unip 3": (UniPC(3, unic=False), textbook.unipc, {"order": 3, "variant": "bh2", "correct": False}),
    "plms": (PNDM(), textbook.pndm, {"order": 4, "runge_kutta": False}),
    "pndm": (PNDM(start="runge_kutta"), textbook.pndm, {"order": 4, "runge_kutta": True}),
    "deis t 1": (DEIS(1), textbook.deis, {"order": 1, "variable": "t"}),
    "deis t 3": (DEIS(3), textbook.deis, {"order": 3, "variable": "t"}),
    "deis r 2": (DEIS(2, "r"), textbook.deis, {"order": 2, "variable": "r"}),
    "deis log_snr 2": (DEIS(2, "log_snr"), textbook.deis, {"order": 2, "variable": "log_snr"}),
    "sa_solver": (SASolver(3, 3, 1.0), textbook.sa_solver, {"order": 3, "corrector_order": 3, "tau": 1.0}),
    "sa_solver 2, 4": (
        SASolver(2, 4, 0.4),
        textbook.sa_solver,
        {"order": 2, "corrector_order": 4, "tau": 0.4},
    ),
    "restart": (
        Restart(0.06, 0.9, 2, 3),
        textbook.restart,
        {"low": 0.06, "high": 0.9, "restarts": 2, "steps": 3},
    ),
}


@pytest.mark.parametrize("name", ["vp", "ve"])
@pytest.mark.parametrize("method", TEXTBOOK)
def test_every_solver_is_its_textbook_loop(method, name):
    solver, loop, options = TEXTBOOK[method]
    with jax.enable_x64(True):
        times = Rho(5.0)(_problem(name)[0], 7)
        table = solver(_problem(name)[0], times)
        expected, calls = _looped(name, functools.partial(loop, **options), times)
        assert table.rows == calls
        scale = np.abs(expected).max()
        np.testing.assert_allclose(_sampled(name, table), expected, rtol=0, atol=1e-10 * max(scale, 1))


@pytest.mark.parametrize("calls", [3, 7, 8])
def test_dpm_solver_fast_splits_its_calls_into_orders(calls):
    solver = DPMSolverFast(calls)
    assert sum(solver.orders) == calls
    with jax.enable_x64(True):
        sde = _problem("vp")[0]
        times = LogSNR()(sde, solver.intervals(calls))
        loop = functools.partial(textbook.dpm_solver, orders=solver.orders)
        expected, _ = _looped("vp", loop, times)
        np.testing.assert_allclose(_sampled("vp", solver(sde, times)), expected, rtol=0, atol=1e-10)


# Solvers that are the same: each pair gives the same table's samples.
SAME = {
    "ddim = dpm-solver-1": (DDIM(), DPMSolver(1)),
    "ddim = dpm-solver++(1)": (DDIM(), Multistep(1)),
    "ddim = euler in edm's variables": (DDIM(), EDM(1)),
    "ddim eta 1 = ancestral": (DDIM(1.0), Ancestral()),
    "ddim eta 1 = sde-dpm-solver++(1)": (DDIM(1.0), Stochastic(1)),
    "dpm-solver++(2m) of one prediction = (1)": (Multistep(1, published=True), SingleStep(1)),
    "dpm-solver++(3m) = unip-3": (
        Multistep(3, start="single_step"),
        UniPC(3, unic=False, start="single_step"),
    ),
    "sde-dpm-solver++(3m) = sa-solver": (Stochastic(3), SASolver(3, 0, 1.0)),
    "sa-solver of tau 0 = dpm-solver++(3m)": (Multistep(3), SASolver(3, 0, 0.0)),
    "adams in x0 and log-snr = dpm-solver++(3m)": (Multistep(3), Adams(3, 0, "x0", "log_snr")),
    "adams in eps and t = deis": (DEIS(3), Adams(4, 0, "eps", "t")),
}


@pytest.mark.parametrize("name", ["vp", "ve", "subvp"])
@pytest.mark.parametrize("pair", SAME)
def test_solvers_that_are_the_same(pair, name):
    with jax.enable_x64(True):
        times = Rho(5.0)(_problem(name)[0], 9)
        first, second = (solver(_problem(name)[0], times) for solver in SAME[pair])
        np.testing.assert_allclose(_sampled(name, first), _sampled(name, second), rtol=0, atol=1e-10)


def test_heun_of_edm_is_heun_on_sigma():
    with jax.enable_x64(True):
        sde, mixture, _ = _problem("edm")
        sigma = np.asarray(Rho()(sde, 8))
        x = jnp.asarray(_start(sde))

        def slope(x, s):
            return (x - mixture.denoise(sde, x, jnp.full(BATCH, s)).x0) / s

        for a, b in itertools.pairwise(sigma):
            k = slope(x, a)
            x = x + (b - a) * (k + slope(x + (b - a) * k, b)) / 2
        x = mixture.denoise(sde, x, jnp.full(BATCH, sigma[-1])).x0
        np.testing.assert_allclose(_sampled("edm", EDM()(sde, sigma)), x, rtol=0, atol=1e-10)


INVARIANT = [
    *(DDIM(), DDIM(1.0), EDM(), EDM(2, 3.0, 0.05, 1.0), DPMSolver(3), SingleStep(3), Multistep(3)),
    *(Multistep(2, True), Stochastic(2), UniPC(3), DEIS(2, "r"), SASolver(), Restart(), Adams()),
]


@pytest.mark.parametrize("solver", INVARIANT, ids=str)
def test_a_vp_and_an_edm_run_related_by_the_change_of_variables_are_one(solver):
    with jax.enable_x64(True):
        vp, _, compiled = _problem("vp")
        edm, _, compiled_edm = _problem("edm")
        times = LogSNR()(vp, 8)
        r = np.array([p.r for p in points_at(vp, times)])
        keys = jax.random.split(jax.random.key(0), BATCH)
        x = _start(vp)
        y = x / float(vp.alpha(jnp.float64(1.0)))
        first = compiled(keys, _padded(solver(vp, times)), x)
        second = compiled_edm(keys, _padded(solver(edm, r)), y)
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-10)


@functools.cache
def _exact_flow(name):
    """The exact flow from the common start, denoised at the end; tolerance 1e-10."""
    sde, mixture, _ = _problem(name)
    denoise = _denoise(name, mixture)

    def solve(x):
        ends = (sde.t_max, sde.sampling_t_min)
        return probability_flow.solve(sde, denoise, x, ends, 1e-11, "dopri8", max_steps=20_000)

    end = jax.jit(jax.vmap(solve))(jnp.asarray(_start(sde, 32)))
    assert not end.failed.any()
    return np.asarray(denoise(end.x, jnp.full(32, sde.sampling_t_min)).x0)


SINGLE = "single_step"
ORDERS = {
    "ddim": (DDIM(), 1),
    "heun": (EDM(), 2),
    "dpm_solver 2": (DPMSolver(2), 2),
    "dpm_solver 3": (DPMSolver(3), 3),
    "dpm_solver++ 2s": (SingleStep(2), 2),
    "dpm_solver++ 3s": (SingleStep(3), 3),
    "dpm_solver++ 2m": (Multistep(2), 2),
    "dpm_solver++ 2m published": (Multistep(2, True), 2),
    "dpm_solver++ 3m": (Multistep(3, start=SINGLE), 3),
    "dpm_solver++ 3m published": (Multistep(3, True, SINGLE), 2),
    "unip 2": (UniPC(2, unic=False, start=SINGLE), 2),
    "unip 3": (UniPC(3, unic=False, start=SINGLE), 3),
    "unipc 1": (UniPC(1), 2),
    "unipc 2": (UniPC(2, start=SINGLE), 3),
    "unipc 2 bh1": (UniPC(2, "bh1", start=SINGLE), 3),
    "unipc 3": (UniPC(3, start=SINGLE), 4),
    "deis 1": (DEIS(1, "t", SINGLE), 2),
    "deis 2": (DEIS(2, "t", SINGLE), 3),
    "deis 3": (DEIS(3, "t", SINGLE), 4),
    "adams 3": (Adams(3), 3),
    "adams 3, 4": (Adams(3, 4), 4),
}


def _order(name, solver, steps, grid):
    sde, exact = _problem(name)[0], _exact_flow(name)
    errors = []
    for count in (steps, 2 * steps):
        found = _sampled(name, solver(sde, grid(sde, count)), 32, rows=400)
        errors.append(np.sqrt(np.mean((found - exact) ** 2)))
    return np.log2(errors[0] / errors[1])


@pytest.mark.parametrize("name", ["vp", "ve", "edm"])
@pytest.mark.parametrize("method", ORDERS)
def test_the_order_of_convergence_is_the_theory_s(method, name):
    solver, order = ORDERS[method]
    with jax.enable_x64(True):
        # tAB-3 comes to its order later than the others.
        steps = 256 if method == "deis 3" else 128
        assert abs(_order(name, solver, steps, Rho()) - order) < 0.15


def test_one_first_order_step_at_the_start_costs_an_order():
    with jax.enable_x64(True):
        low, single = (
            _order("ve", Multistep(3, start=start), 128, VPTime()) for start in ("lower_order", SINGLE)
        )
    assert low < 2.75 < single


def _config(**fields):
    config = sampling(fields)
    return config


FAMILIES = [name for name, cls in samplers.SOLVERS.items() if issubclass(cls, Solver) and name != "fitted"]


@pytest.mark.parametrize("sde_name", SDES)
@pytest.mark.parametrize("predictor", FAMILIES)
def test_every_solver_serves_a_process_or_says_why_not(predictor, sde_name):
    sde = SDES[sde_name]()
    try:
        sampler = samplers.create(
            _config(predictor=predictor, grid="log_snr", steps=200, largest_bias=None), sde
        )
    except ConfigError as error:
        assert f'sampling.predictor.name="{predictor}"' in str(error)
        assert predictor in ("reverse_diffusion", "euler_maruyama") or predictor.startswith("legacy")
        return
    if predictor == "none":
        return
    _, variance = moments(sde, sampler.table, 0.3, 0.25)
    assert abs(variance / 0.25 - 1) < 0.6  # the coefficients belong to this process


CONVERGE = [n for n in FAMILIES if not n.startswith("legacy") and n not in ("none", "restart")]


@pytest.mark.parametrize("name", ["vp", "ve", "subvp", "edm"])
@pytest.mark.parametrize("predictor", CONVERGE)
def test_the_variance_converges_to_that_of_the_data(predictor, name):
    # The prior's own mismatch, the same for every sampler, is taken out by the flow's exact scaling.
    sde = SDES[name]()
    grid = "log_snr" if name in ("edm", "ve") else "uniform"
    bias = []
    stochastic = predictor in ("reverse_diffusion", "ancestral", "euler_maruyama")
    counts = (400, 1600) if stochastic or predictor == "ddim" else (100, 400)
    for steps in counts:
        config = _config(predictor=predictor, grid=grid, steps=steps, final_denoise=False, largest_bias=None)
        sampler = samplers.create(config, sde)
        bias.append(moments(sde, sampler.table, 0.0, 0.25)[1])
    with jax.enable_x64(True):
        ends = jnp.array([sde.t_max, sde.sampling_t_min])
        exact = np.asarray(sde.alpha(ends) ** 2 * 0.25 + sde.sigma(ends) ** 2)
    flow = exact[1] * sde.prior_std**2 / exact[0]
    target = exact[1] if _is_stochastic(predictor) else flow
    first, second = (abs(value / target - 1) for value in bias)
    assert second < 0.35 * first or second < 1e-6


@pytest.mark.parametrize("name", ["vp", "subvp", "ve", "edm", "cosine"])
def test_the_default_s_variance_converges_at_the_order_of_its_start_or_better(name):
    # Order 4 inside; one first step of order 1 over a long interval leaves between 2 and 4.
    sde, bias = SDES[name](), []
    with jax.enable_x64(True):
        ends = jnp.array([sde.t_max, sde.sampling_t_min])
        exact = np.asarray(sde.alpha(ends) ** 2 * 0.25 + sde.sigma(ends) ** 2)
    for steps in (40, 320):
        table = samplers.create(_config(steps=steps, final_denoise=False), sde).table
        bias.append(abs(moments(sde, table, 0.0, 0.25)[1] / (exact[1] * sde.prior_std**2 / exact[0]) - 1))
    assert np.log2(bias[0] / bias[1]) / 3 > 2.5
    assert bias[1] < 2e-8


def _is_stochastic(predictor):
    return predictor in (
        *("reverse_diffusion", "ancestral", "euler_maruyama", "stochastic_heun"),
        *("sde_dpm_solver++", "sa_solver"),
    )


def test_stochastic_heun_is_of_weak_order_two():
    sde, bias = SDES["vp"](), []
    with jax.enable_x64(True):
        end = jnp.float64(sde.sampling_t_min)
        exact = float(sde.alpha(end) ** 2 * 0.25 + sde.sigma(end) ** 2)
    for steps in (200, 400):
        table = StochasticHeun()(sde, LogSNR()(sde, steps), False)
        bias.append(moments(sde, table, 0.0, 0.25)[1] / exact - 1)
    assert abs(np.log2(bias[0] / bias[1]) - 2) < 0.15


def test_a_state_of_the_past_cannot_be_used():
    tape = Tape()
    (point,) = points_at(SDES["vp"](), [0.5])
    old = tape.state
    tape.state = 2 * old + tape.x0(old, point)
    with pytest.raises(ValueError, match="past"):
        tape.state = old
    with pytest.raises(ValueError, match="noise"):
        tape.x0(tape.state + tape.noise(1.0), point)


def test_moves_between_two_calls_become_one_row():
    tape = Tape()
    first, second = points_at(SDES["vp"](), [0.5, 0.2])
    d = tape.x0(tape.state, first)
    tape.state = 2 * tape.state + d + tape.noise(3.0)
    tape.state = 0.5 * tape.state - d + tape.noise(2.0)
    tape.eps(tape.state + d, second)
    table = tape.table()
    np.testing.assert_allclose(table.move, [[1, 0], [1, -0.5]])
    np.testing.assert_allclose(table.noise, [0, 2.5])
    np.testing.assert_allclose(table.look, [[1, 0], [1, 1]])
    np.testing.assert_allclose(table.record, [[1, 0], [0, 1]])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"predictor": "unipc", "eta": 0.5}, ["sampling.predictor.eta", "unipc", "order"]),
        ({"predictor": "unpc"}, ["unpc", '"unipc"']),
        ({"predictor": "unipc", "order": 5}, ["unipc", "order=5"]),
        ({"predictor": "ddim", "eta": 2.0}, ["eta=2"]),
        ({"predictor": "edm", "corrector": "langevin"}, ["corrector", "edm", "one call a step"]),
        ({"predictor": "ode", "grid": "cubic"}, ["ode", "sampling.grid"]),
        ({"predictor": "ddim", "grid": "even"}, ["even", "ddpm"]),
        ({"predictor": "ddim", "grid": "explicit"}, ["times"]),
        ({"predictor": "ddim", "grid": "explicit", "times": (0.1, 0.2)}, ["decreasing"]),
        ({"predictor": "ddim", "grid": "cubic", "rho": 3.0}, ["sampling.grid.rho", "cubic"]),
        ({"predictor": "edm", "nfe": 2}, ["nfe=2", "too few"]),
        ({"predictor": "ddim", "threshold": "static"}, ["value=None"]),
        ({"predictor": "ddim", "temperature": 0.0}, ["temperature"]),
        ({"predictor": "dpm_solver++", "start": "slow"}, ["start", "single_step"]),
        ({"predictor": "ddim", "corrector": "langevin", "corrector.norm": "all"}, ["norm", "batch"]),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(fields, words):
    with pytest.raises(ConfigError) as caught:
        samplers.create(_config(**fields), SDES["vp"]())
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("predictor", "budget"), [("ddim", 7), ("edm", 8), ("unipc", 10), ("dpm_solver", 11)]
)
def test_a_budget_of_calls_is_filled_but_not_exceeded(predictor, budget):
    sde = SDES["vp"]()
    config = _config(predictor=predictor, nfe=budget, largest_bias=None)
    table = samplers.create(config, sde).table
    config.nfe += 1
    more = samplers.create(config, sde).table
    calls = {"edm": 2, "dpm_solver": 3}.get(predictor, 1)
    assert budget - calls < table.rows <= budget
    assert more.rows in (table.rows, table.rows + calls)


def test_unequal_gaussians_have_their_mean_too():
    # The recursion of samplers/moments.py against 20,000 samples of a stochastic multistep solver.
    sde = SDES["vp"]()
    gaussian = GaussianMixture.diagonal([1.0], np.full((1, 2), 0.3), np.full((1, 2), 0.25), SHAPE)
    table = SASolver()(sde, Power()(sde, 6))
    keys = jax.random.split(jax.random.key(2), 10_000)
    draw = jax.jit(
        lambda keys, table: sample(keys, sde, lambda x, t: gaussian.denoise(sde, x, t), SHAPE, table).x
    )
    x = np.asarray(draw(keys, table.astype(np.float32))).reshape(-1)
    mean, variance = moments(sde, table, 0.3, 0.25)
    assert abs(x.mean() - mean) < 4 * np.sqrt(variance / x.size)
    assert abs(x.var() / variance - 1) < 4 * np.sqrt(2 / x.size)


@pytest.mark.parametrize(
    ("fields", "nfe"),
    [
        ({"nfe": 20, "predictor": "ancestral", "corrector": "langevin"}, 20),
        ({"nfe": 21, "predictor": "ancestral", "corrector": "langevin", "corrector.steps": 3}, 20),
        ({"nfe": 15, "predictor": "dpm_solver_fast"}, 15),
        ({"nfe": 15, "predictor": "euler_maruyama"}, 15),  # few steps are refused, these are not
        ({"nfe": 32, "predictor": "restart"}, 31),
        ({"nfe": 30, "predictor": "legacy_ancestral"}, 30),
    ],
    ids=str,
)
def test_a_budget_counts_correctors_and_passes_over_what_is_refused(fields, nfe):
    assert samplers.create(_config(**fields, largest_bias=None), SDES["vp"]()).nfe == nfe


@pytest.mark.parametrize(("grid", "nfe", "found"), [("even", 1000, 1000), ("leading", 60, 60)])
def test_a_budget_on_integer_levels_is_filled(grid, nfe, found):
    assert samplers.create(_config(predictor="ddim", grid=grid, nfe=nfe), SDES["ddpm"]()).nfe == found


def test_the_quadratic_levels_of_many_steps_are_taken_once():
    times = samplers.create(
        _config(predictor="ddim", grid="leading_quadratic", steps=100), SDES["ddpm"]()
    ).times
    assert (np.diff(times) < 0).all() and 85 < len(times) <= 101


def test_the_released_damping_has_as_many_levels_as_the_sampler_has_steps():
    fields = {"predictor": "legacy_reverse_diffusion", "corrector": "legacy_langevin", "nfe": 200}
    sampler = samplers.create(_config(**fields), SDES["vp"]())
    assert sampler.table.rows == 100 and sampler.between[0].damping.levels == 100


def test_default_is_a_name_that_any_config_can_take():
    default = samplers.create(_config(predictor="default", nfe=10), SDES["vp"]())
    assert default.nfe == 10
    assert len(default.times) == 10
    with pytest.raises(ConfigError, match="sampling.predictor.order is set"):
        samplers.create(_config(predictor="default", order=2), SDES["vp"]())
