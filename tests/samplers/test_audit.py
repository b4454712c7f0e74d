"""What creation asks of a sampler: the exact moments of its samples, and what is refused or said by them."""

import dataclasses
import re
import time

import jax
import numpy as np
import pytest

import main
import samplers
from components import ConfigError
from configs import base, renamed
from denoisers.gaussian_mixture import GaussianMixture
from denoisers.mixtures import MIXTURES, Ring
from samplers.moments import limit_of_many_steps, moments
from samplers.solvers.predictors import Ancestral
from samplers.tape import Solver
from samplers.time_grids import LogSNR
from sde_lib import SDES
from sde_lib.cosine import Cosine
from sde_lib.noise import example_keys, root_key
from sde_lib.vp import VP
from tests.conftest import sampling
from workdir.files import write_json
from workdir.saved_config import read_config

STD = 0.5
TABLES = [name for name, cls in samplers.SOLVERS.items() if issubclass(cls, Solver) and name != "fitted"]


def _refusal(fields, sde, std=STD):
    """The line with which creation refuses a sampler, or None."""
    try:
        samplers.create(sampling(fields), sde, data_std=std)
    except ConfigError as error:
        assert "\n" not in str(error)
        return str(error)
    return None


def _ratio(fields, sde, std=STD):
    """Variance of the samples over the data's, of a sampler that is taken whatever it is."""
    sampler = samplers.create(sampling({"largest_bias": None, **fields}), sde)
    return moments(sde, sampler.table, 0.0, std**2, between=sampler.between)[1] / std**2


DRAWN = {
    "large": {"predictor": "ancestral", "variance": "large"},
    "large, limited": {"predictor": "ancestral", "variance": "large", "variance.pixels": 20.0},
    "optimal": {"predictor": "euler_maruyama", "variance": "predicted", "steps": 25},
    "optimal, limited": {"predictor": "ancestral", "variance": "predicted", "variance.pixels": 5.0},
    "sharp": {"predictor": "reverse_diffusion", "temperature": 0.7},
    "sharp, with a history": {"predictor": "sde_dpm_solver++", "order": 2, "temperature": 0.7},
    "blurred": {"predictor": "ancestral", "temperature": 1.5},
    "annealed": {"predictor": "none", "corrector": "annealed_langevin", "corrector.steps": 3},
    "annealed, with a history": {"predictor": "sa_solver", "corrector": "annealed_langevin"},
    "langevin": {"predictor": "reverse_diffusion", "corrector": "langevin", "corrector.steps": 2},
    "langevin, sharp": {"predictor": "ancestral", "corrector": "langevin", "temperature": 0.8},
    "langevin, with a history": {"predictor": "sa_solver", "corrector": "langevin"},
    "released": {"predictor": "legacy_euler_maruyama", "corrector": "legacy_langevin", "steps": 30},
}


@pytest.mark.parametrize("name", ["vp", "ve"])
@pytest.mark.parametrize("case", DRAWN)
def test_the_moments_are_those_of_samples_that_are_drawn(case, name):
    # In many dimensions, of which the size of a Langevin step by norms is the limit.
    sde, shape, count, mean = SDES[name](), (40, 10, 1), 200, 0.3
    size = int(np.prod(shape))
    data = GaussianMixture.diagonal([1.0], np.full((1, size), mean), np.full((1, size), STD**2), shape)
    config = sampling({"steps": 12, "grid": "log_snr", "largest_bias": None, **DRAWN[case]})
    sampler = samplers.create(config, sde, (-2.0, 2.0))
    keys = example_keys(root_key(0), np.arange(count))
    draw = jax.jit(lambda s, k: s.draw(k, sde, lambda x, t: data.denoise(sde, x, t), shape).x)
    x = np.asarray(draw(sampler.astype(np.float32), keys), np.float64)
    expected_mean, variance = moments(
        sde, sampler.table, mean, STD**2, temperature=config.temperature, between=sampler.between
    )
    assert abs(x.mean() - expected_mean) < 5 * np.sqrt(variance / x.size) + 1e-4
    # A corrector's steps by norms make dimensions depend on each other, by one part in their number.
    assert abs(x.var() / variance - 1) < 5 * np.sqrt(2 / x.size) + 2 * bool(sampler.between) / size


@pytest.mark.parametrize("data_range", [None, (-1.0, 1.0)])
@pytest.mark.parametrize("steps", [10, 25])
def test_the_heuristic_variance_is_too_large_by_as_much_as_the_audit_says(steps, data_range):
    sde, shape = VP(), (500,)
    data = GaussianMixture.diagonal([1.0], np.zeros((1, *shape)), np.full((1, *shape), STD**2))
    fields = {"predictor": "ancestral", "variance": "heuristic", "steps": steps, "grid": "log_snr"}
    config = sampling({**fields, "largest_bias": None})
    sampler, ratio = samplers.create_audited(config, sde, data_range, data_std=STD)
    keys = example_keys(root_key(0), np.arange(40))
    draw = jax.jit(lambda s, k: s.draw(k, sde, lambda x, t: data.denoise(sde, x, t), shape).x)
    x = np.asarray(draw(sampler.astype(np.float32), keys), np.float64)
    # Noise that depends on the state leaves it no Gaussian: the audit is near, not exact.
    assert x.var() / STD**2 == pytest.approx(ratio, rel=0.1)
    assert ratio > 1.05


@pytest.mark.parametrize("name", ["vp", "ve", "edm", "cosine"])
@pytest.mark.parametrize("temperature", [0.5, 0.8, 1.0, 2.0, 3.0])
def test_the_limit_of_many_steps_is_where_more_and_more_steps_lead(name, temperature):
    sde = SDES[name]()
    ends = (sde.t_max, sde.sampling_t_min)
    limit = limit_of_many_steps(sde, *ends, STD**2, temperature, corrected=False)

    def off(steps):
        table = Ancestral()(sde, LogSNR()(sde, steps), final_denoise=False)
        return moments(sde, table, 0.0, STD**2, temperature=temperature)[1] / limit - 1

    # The error is of first order in the step.
    assert abs(off(2000)) < 0.05
    assert off(1000) / off(2000) == pytest.approx(2, abs=0.1)


def test_with_langevin_steps_the_limit_is_the_law_of_the_divided_score():
    sde, temperature = VP(), 0.8
    limit = limit_of_many_steps(sde, sde.t_max, sde.sampling_t_min, STD**2, temperature, corrected=True)
    config = sampling(
        {
            "predictor": "reverse_diffusion",
            "corrector": "annealed_langevin",
            "snr": 0.05,
            "corrector.steps": 200,
            "steps": 500,
            "final_denoise": False,
            "largest_bias": None,
        }
    )
    sampler = samplers.create(config, sde)
    found = moments(sde, sampler.table, 0.0, STD**2, temperature=temperature, between=sampler.between)[1]
    assert found == pytest.approx(limit, rel=0.02)


# The bias of the cases is so large that it was reported.
OVERSHOOTING = {
    "flow on cosine": ("cosine", {"predictor": "reverse_diffusion", "probability_flow": True, "steps": 1000}),
    "flow on iddpm": ("iddpm", {"predictor": "reverse_diffusion", "probability_flow": True, "steps": 999}),
    "no drift to overshoot": ("ve", {"predictor": "euler_maruyama", "steps": 10}),
    "no drift, discrete": ("smld", {"predictor": "euler_maruyama", "steps": 9, "grid": "even"}),
    "no drift, edm": ("edm", {"predictor": "euler_maruyama", "steps": 10}),
    "langevin between multistep moves": (
        "subvp",
        {"predictor": "sa_solver", "corrector": "langevin", "steps": 200},
    ),
    "sa_solver, high order": (
        "subvp",
        {"predictor": "sa_solver", "order": 4, "corrector_order": 4, "steps": 25},
    ),
    "sa_solver, few steps": ("subvp", {"predictor": "sa_solver", "steps": 10}),
    "pndm's start": ("rectified_flow", {"predictor": "pndm", "start": "runge_kutta", "steps": 5}),
    **{
        f"heun, {steps} steps": ("rectified_flow", {"predictor": "edm", "steps": steps})
        for steps in (3, 4, 5)
    },
}


@pytest.mark.parametrize("case", OVERSHOOTING)
def test_a_sampler_that_overshoots_is_refused_with_its_bias_and_what_to_use(case):
    name, fields = OVERSHOOTING[case]
    sde = SDES[name]()
    line, ratio = _refusal(fields, sde), _ratio(fields, sde)
    assert ratio > 2
    assert f'sampling.predictor.name="{fields["predictor"]}"' in line
    assert "sampling.largest_bias=2" in line and f"{ratio:.3g} times" in line
    # What is named first is taken.
    first = re.search(r"Use ([\w.+=]+)", line)[1]
    path, value = first.split("=")
    value = int(value) if value.isdigit() else value
    named = {"sampling.predictor": "predictor", "sampling.corrector": "corrector"}.get(path)
    changed = {**fields, named or path.removeprefix("sampling."): value}
    if named == "predictor":
        changed = {"steps": fields["steps"], "predictor": value}
    assert _refusal(changed, sde) is None


def test_the_same_sampler_without_its_corrector_or_with_single_steps_is_taken():
    fields = {"predictor": "sa_solver", "corrector": "langevin", "steps": 200}
    assert _refusal({**fields, "corrector": "none"}, SDES["subvp"]()) is None
    assert _refusal({**fields, "predictor": "ancestral", "grid": "vp_time"}, SDES["subvp"]()) is None


PUBLISHED = {
    "ddpm, small, K = 10": ("ddpm", {"predictor": "ancestral", "steps": 9, "grid": "even"}),
    "ddpm, large, K = 10": (
        "ddpm",
        {"predictor": "ancestral", "variance": "large", "steps": 9, "grid": "even"},
    ),
    "iddpm, small, K = 10": ("iddpm", {"predictor": "ancestral", "steps": 9, "grid": "even"}),
    "iddpm, large, K = 10": (
        "iddpm",
        {"predictor": "ancestral", "variance": "large", "steps": 9, "grid": "even"},
    ),
    "ncsn": (
        "smld",
        {"predictor": "none", "corrector": "annealed_langevin", "corrector.steps": 100, "steps": 10},
    ),
    "PC1000": ("ve", {"predictor": "reverse_diffusion", "corrector": "langevin", "steps": 1000}),
    "C2000": ("vp", {"predictor": "none", "corrector": "langevin", "corrector.steps": 2, "steps": 1000}),
    "heun, 18 steps": ("edm", {"predictor": "edm", "grid": "rho", "steps": 17}),
    "unipc, 5 calls": ("vp", {"predictor": "unipc", "nfe": 5}),
}


@pytest.mark.parametrize("case", PUBLISHED)
def test_rows_that_papers_publish_are_taken(case):
    name, fields = PUBLISHED[case]
    assert _refusal(fields, SDES[name]()) is None


@pytest.mark.parametrize("name", SDES)
@pytest.mark.parametrize(
    "steps", [3, 10, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 5, 50, 1000))]
)
def test_every_sampler_on_every_process_is_refused_or_within_the_bound(name, steps):
    sde = SDES[name]()
    for predictor in TABLES:
        fields = {"predictor": predictor, "steps": steps}
        line = _refusal(fields, sde)
        if line is None:
            assert _ratio(fields, sde) <= 2, predictor
        elif "largest_bias" in line:
            assert _ratio(fields, sde) > 2, predictor


def test_the_bound_is_a_field_and_none_takes_everything():
    sde, fields = SDES["ve"](), {"predictor": "euler_maruyama", "steps": 10}
    assert _refusal({**fields, "largest_bias": 10.0}, sde) is None
    assert _refusal({**fields, "largest_bias": None}, sde) is None
    assert "sampling.largest_bias=0.5" in _refusal({**fields, "largest_bias": 0.5}, sde)


def test_the_spread_of_the_data_decides():
    fields = {"predictor": "reverse_diffusion", "corrector": "langevin", "snr": 0.1, "steps": 5}
    assert "standard deviation 0.5" in _refusal(fields, VP(), 0.5)
    assert _refusal(fields, VP(), 1.0) is None
    assert _refusal(fields, VP(), None) is None


@pytest.mark.parametrize("name", MIXTURES)
def test_the_std_of_a_mixture_is_that_of_its_samples(name):
    mixture = MIXTURES[name](**({"side": 8} if name == "images" else {})).build()
    x = np.asarray(mixture.sample(jax.random.key(0), 20_000), np.float64).reshape(20_000, -1)
    assert mixture.std == pytest.approx(np.sqrt(x.var(axis=0).mean()), rel=0.02)


@pytest.mark.parametrize(
    "fields",
    [
        {"threshold": "static", "threshold.value": 1.0, "steps": 10, "predictor": "euler_maruyama"},
        {"predictor": "adaptive_sde"},
        {"predictor": "ode"},
        {"predictor": "reverse_diffusion", "corrector": "renoise", "steps": 10},
    ],
    ids=str,
)
def test_of_what_is_outside_the_audit_nothing_is_said(fields, monkeypatch):
    class Renoise:
        calls = 1

        def attach(self, sde, rows):
            return (self,)

    monkeypatch.setitem(samplers.CORRECTORS, "renoise", dataclasses.dataclass(frozen=True)(Renoise))
    sde = SDES["ve"]()
    assert _refusal(fields, sde) is None
    assert samplers.create_audited(sampling(fields), sde)[1] is None


@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("predictor", ["default", "ddim", "edm", "unipc", "dpm_solver", "ode"])
def test_deterministic_solvers_take_no_temperature_and_name_what_does(predictor, steps):
    fields = {"predictor": predictor, "steps": steps}
    line = _refusal({**fields, "temperature": 0.8}, VP())
    assert "sampling.temperature=0.8" in line and "without noise" in line
    name, _, count = re.search(
        r"Use sampling.predictor=(\S+?)( with sampling.steps=(\d+))? or", line
    ).groups()
    advised = {"predictor": name, "steps": int(count or steps), "temperature": 0.8}
    assert _refusal(advised, VP()) is None
    assert _refusal(fields, VP()) is None


@pytest.mark.parametrize("temperature", [0.7, 0.9, 1.2])
@pytest.mark.parametrize("name", ["vp", "ve", "cosine"])
@pytest.mark.parametrize("predictor", ["ancestral", "sde_dpm_solver++", "reverse_diffusion"])
def test_a_temperature_is_taken_where_its_limit_is_reached_to_a_tenth(predictor, name, temperature):
    sde = SDES[name]()
    limit = limit_of_many_steps(sde, sde.t_max, sde.sampling_t_min, STD**2, temperature, corrected=False)
    counts = []
    for steps in (5, 10, 25, 50, 100, 300, 1000):
        fields = {"predictor": predictor, "steps": steps, "final_denoise": False}
        table = samplers.create(sampling({**fields, "largest_bias": None}), sde).table
        reached = abs(moments(sde, table, 0.0, STD**2, temperature=temperature)[1] / limit - 1) <= 0.1
        line = _refusal({**fields, "temperature": temperature}, sde)
        assert (line is None) == reached
        if line:
            assert f"sampling.temperature={temperature}" in line
            enough = int(re.search(r"Use sampling.steps=(\d+)", line)[1])
            assert enough > steps
            assert _refusal({**fields, "temperature": temperature, "steps": enough}, sde) is None
        counts.append(line is None)
    assert counts[-1]


def test_a_temperature_counts_calls_where_the_config_does():
    fields = {"predictor": "ancestral", "corrector": "langevin", "nfe": 20, "temperature": 0.7}
    line = _refusal(fields, VP())
    enough = int(re.search(r"sampling.nfe=(\d+) ?(,|or)", line)[1])
    assert _refusal({**fields, "nfe": enough}, VP()) is None


def test_at_a_temperature_the_samples_of_a_ring_are_sharper():
    sde, mixture = VP(), Ring().build()
    keys = example_keys(root_key(0), np.arange(2000))

    @jax.jit
    def draw(sampler, keys):
        return sampler.draw(keys, sde, lambda x, t: mixture.denoise(sde, x, t), (2,)).x

    def radial_spread(temperature):
        fields = {"predictor": "sde_dpm_solver++", "steps": 100, "temperature": temperature}
        sampler = samplers.create(sampling(fields), sde, data_std=mixture.std).astype(np.float32)
        return np.linalg.norm(np.asarray(draw(sampler, keys)), axis=1).std()

    assert radial_spread(0.5) < 0.7 * radial_spread(1.0)


def _main(workdir, mode, *flags):
    command = ["main.py", "--config=configs/gaussian_mixture.py:ring", f"--workdir={workdir}"]
    few = ["--config.sampling.num_samples=16", "--config.sampling.batch_size=16"]
    return main.main([*command, f"--mode={mode}", *few, *(f"--config.sampling.{flag}" for flag in flags)])


def test_a_large_bias_is_said_when_sampling_starts_and_a_small_one_is_not(tmp_path, capsys):
    assert _main(tmp_path, "sample", "steps=10") == 0
    said = capsys.readouterr().err
    assert re.search(r"variance of this sampler's samples is \d\d% smaller than", said)
    assert said.index("% smaller") < said.index("wrote")
    assert _main(tmp_path, "sample", "predictor=default", "steps=10") == 0
    assert "% smaller" not in capsys.readouterr().err


def test_none_turns_the_bound_off_on_the_command_line_and_stays_in_a_run(tmp_path, capsys):
    config = ["main.py", "--config=configs/gaussian_mixture.py:ring,rectified_flow"]
    flags = ["--config.sampling.predictor=edm", "--config.sampling.steps=4"]
    check, off = ["--mode=check", "--for=sample"], "--config.sampling.largest_bias=None"
    with pytest.raises(SystemExit, match="2"):
        main.main([*config, *flags, *check])
    assert "sampling.largest_bias=2" in "".join(capsys.readouterr())
    assert main.main([*config, *flags, *check, off]) == 0
    # A table that is only printed is not refused: its bias is said.
    assert main.main([*config, *flags, "--mode=coefficients"]) == 0
    assert "er than it should be" in capsys.readouterr().err
    changed = main.parse([*config, *check, off])[0]
    write_json(tmp_path / "config.json", {"config": changed.to_dict()})
    assert read_config(tmp_path, base.get_config(), renamed.upgraded).sampling.largest_bias is None


def test_creation_of_a_thousand_rows_stays_fast(young_heap):
    config = sampling({"predictor": "ancestral", "steps": 1000, "corrector": "langevin"})
    samplers.create(config, Cosine())
    begin = time.process_time()
    samplers.create(config, Cosine())
    assert time.process_time() - begin < 0.3
