"""Every experiment of configs/: it is refused by nothing, and the ancestor's have the ancestor's settings."""

import importlib
import math
import re
import shlex

import jax
import pytest

import experiment
import main
import samplers
import sde_lib
from configs import schema
from models import MODELS
from modes import check
from modes.listing import experiments, listing
from parallel import memory
from tests.conftest import experiment_config

EXPERIMENTS = experiments()
# What each takes in memory is a matter of the machine.
UNLIMITED = 1 << 60

# The ancestor's 39 files field by field, with what its 13 broken ones mean to say. Process (small letters: on
# levels), data, side, network, width, multipliers, blocks; residual block, FIR, progressive input and output,
# embedding; range of the noise, levels or steps; dropout, decay of the average, learning rate, warm-up,
# clipping, batch, thousands of steps; predictor, corrector, its steps, its ratio; mean over pixels, centred.
ANCESTOR = """
subvp/cifar10_ddpm_continuous         SUBVP cifar10 32 ddpm 128 1222 2  -    - -          -           sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 1300 euler_maruyama - 1 .16 mean centred
subvp/cifar10_ddpmpp_continuous       SUBVP cifar10 32 ncsnpp 128 1222 4 biggan F none     none        sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 1300 euler_maruyama - 1 .16 mean centred
subvp/cifar10_ddpmpp_deep_continuous  SUBVP cifar10 32 ncsnpp 128 1222 8 biggan F none     none        sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 950  euler_maruyama - 1 .16 mean centred
subvp/cifar10_ncsnpp_continuous       SUBVP cifar10 32 ncsnpp 128 1222 4 biggan T residual none        sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 1300 euler_maruyama - 1 .16 mean centred
subvp/cifar10_ncsnpp_deep_continuous  SUBVP cifar10 32 ncsnpp 128 1222 8 biggan T residual none        sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 950  euler_maruyama - 1 .16 mean centred
ve/bedroom_ncsnpp_continuous          VE lsun/bedroom 256 ncsnpp 128 1122222 2 biggan T input_skip output_skip fourier .01:378  2000 0  .999  2e-4 5000 1 64  2400 reverse_diffusion langevin 1 .075 sum -
ve/celeba_ncsnpp                      ve celeb_a 64 ncsnpp 128 1222 4 biggan T residual    none        sinusoidal .01:90   1000 .1 .999  2e-4 5000 1 128 1300 reverse_diffusion langevin 1 .17 sum -
ve/celebahq_256_ncsnpp_continuous     VE celeba_hq_256 256 ncsnpp 128 1122222 2 biggan T input_skip output_skip fourier .01:348 2000 0 .999 2e-4 5000 1 64 2400 reverse_diffusion langevin 1 .075 sum -
ve/celebahq_ncsnpp_continuous         VE celeba_hq_1024 1024 ncsnpp 16 1,2,4,8,16,32,32,32 1 biggan T input_skip output_skip fourier .01:1348 2000 0 .9999 2e-4 5000 1 8 2400 reverse_diffusion langevin 1 .15 sum -
ve/church_ncsnpp_continuous           VE lsun/church_outdoor 256 ncsnpp 128 1122222 2 biggan T input_skip output_skip fourier .01:380 2000 0 .999 2e-4 5000 1 64 2400 reverse_diffusion langevin 1 .075 sum -
ve/cifar10_ddpm                       ve cifar10 32 ddpm 128 1222 2  -    - -          -           sinusoidal .01:50   1000 .1 .999  2e-4 5000 1 128 1300 reverse_diffusion langevin 1 .16 sum -
ve/cifar10_ncsnpp                     ve cifar10 32 ncsnpp 128 1222 4 biggan T residual    none        sinusoidal .01:50   1000 .1 .999  2e-4 5000 1 128 1300 reverse_diffusion langevin 1 .16 sum -
ve/cifar10_ncsnpp_continuous          VE cifar10 32 ncsnpp 128 1222 4 biggan T residual    none        fourier    .01:50   1000 .1 .999  2e-4 5000 1 128 1300 reverse_diffusion langevin 1 .16 sum -
ve/cifar10_ncsnpp_deep_continuous     VE cifar10 32 ncsnpp 128 1222 8 biggan T residual    none        fourier    .01:50   1000 .1 .999  2e-4 5000 1 128 950  reverse_diffusion langevin 1 .16 sum -
ve/ffhq_256_ncsnpp_continuous         VE ffhq_256 256 ncsnpp 128 1122222 2 biggan T input_skip output_skip fourier .01:348 2000 0 .999 2e-4 5000 1 64 2400 reverse_diffusion langevin 1 .075 sum -
ve/ffhq_ncsnpp_continuous             VE ffhq_1024 1024 ncsnpp 16 1,2,4,8,16,32,32,32 1 biggan T input_skip output_skip fourier .01:1348 2000 0 .9999 2e-4 5000 1 8 2400 reverse_diffusion langevin 1 .15 mean -
ve/ncsn/celeba                        ve celeb_a 64 ncsn 128 - - - - - - - .01:1    10   - 0     1e-3 0 0 128 1300 none ald 100 .316 sum -
ve/ncsn/celeba_124                    ve celeb_a 64 ncsn 128 - - - - - - - .01:90   500  - 0     1e-3 0 0 128 1300 none ald 5 .128 sum -
ve/ncsn/celeba_1245                   ve celeb_a 64 ncsn 128 - - - - - - - .01:90   500  - .999  1e-3 0 0 128 1300 none ald 5 .128 sum -
ve/ncsn/celeba_5                      ve celeb_a 64 ncsn 128 - - - - - - - .01:1    10   - .999  1e-3 0 0 128 1300 none ald 100 .316 sum -
ve/ncsn/cifar10                       ve cifar10 32 ncsn 128 - - - - - - - .01:1    10   - 0     1e-3 0 0 128 1300 none ald 100 .316 sum -
ve/ncsn/cifar10_124                   ve cifar10 32 ncsn 128 - - - - - - - .01:50   232  - 0     1e-3 0 0 128 1300 none ald 5 .176 sum -
ve/ncsn/cifar10_1245                  ve cifar10 32 ncsn 128 - - - - - - - .01:50   232  - .999  1e-3 0 0 128 1300 none ald 5 .176 sum -
ve/ncsn/cifar10_5                     ve cifar10 32 ncsn 128 - - - - - - - .01:1    10   - .999  1e-3 0 0 128 1300 none ald 100 .316 sum -
ve/ncsnv2/bedroom                     ve lsun/bedroom 128 ncsnv2 128 - - - - - - - .01:190 1086 - .9999 1e-4 0 0 128 2400 none ald 3 .095 sum -
ve/ncsnv2/celeba                      ve celeb_a 64 ncsnv2 128 - - - - - - - .01:90  500  - .999  1e-4 0 0 128 1300 none ald 5 .128 sum -
ve/ncsnv2/cifar10                     ve cifar10 32 ncsnv2 128 - - - - - - - .01:50  232  - .999  1e-4 0 0 128 1300 none ald 5 .176 sum -
vp/cifar10_ddpmpp                     vp cifar10 32 ncsnpp 128 1222 4 biggan F none        none        sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 1300 ancestral - 1 .16 mean centred
vp/cifar10_ddpmpp_continuous          VP cifar10 32 ncsnpp 128 1222 4 biggan F none        none        sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 1300 euler_maruyama - 1 .16 mean centred
vp/cifar10_ddpmpp_deep_continuous     VP cifar10 32 ncsnpp 128 1222 8 biggan F none        none        sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 950  euler_maruyama - 1 .16 mean centred
vp/cifar10_ncsnpp                     vp cifar10 32 ncsnpp 128 1222 4 biggan T residual    none        sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 1300 reverse_diffusion - 1 .16 mean centred
vp/cifar10_ncsnpp_continuous          VP cifar10 32 ncsnpp 128 1222 4 biggan T residual    none        sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 1300 euler_maruyama - 1 .16 mean centred
vp/cifar10_ncsnpp_deep_continuous     VP cifar10 32 ncsnpp 128 1222 8 biggan T residual    none        sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 950  euler_maruyama - 1 .16 mean centred
vp/ddpm/bedroom                       vp lsun/bedroom 256 ddpm 128 112244 2 -  - -          -           sinusoidal .1:20    1000 0  .9999 2e-5 5000 1 64  2400 ancestral - 1 .075 mean centred
vp/ddpm/celebahq                      vp celeba_hq_256 256 ddpm 128 112244 2 - - -          -           sinusoidal .1:20    1000 0  .9999 2e-5 5000 1 64  2400 ancestral - 1 .075 mean centred
vp/ddpm/church                        vp lsun/church_outdoor 256 ddpm 128 112244 2 - - -    -           sinusoidal .1:20    1000 0  .9999 2e-5 5000 1 64  2400 ancestral - 1 .075 mean centred
vp/ddpm/cifar10                       vp cifar10 32 ddpm 128 1222 2  -    - -          -           sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 1300 ancestral - 1 .16 mean centred
vp/ddpm/cifar10_continuous            VP cifar10 32 ddpm 128 1222 2  -    - -          -           sinusoidal .1:20    1000 .1 .9999 2e-4 5000 1 128 1300 euler_maruyama - 1 .16 mean centred
vp/ddpm/cifar10_unconditional         vp cifar10 32 ddpm 128 1222 2  -    - -          -           none       .1:20    1000 .1 .9999 2e-4 5000 1 128 1300 ancestral - 1 .16 mean centred
"""  # noqa: E501
ROWS = {row.split()[0]: row.split()[1:] for row in ANCESTOR.strip().splitlines()}
# Our names of its processes: in capitals those in continuous time.
PROCESSES = {"SUBVP": "subvp", "VE": "ve", "VP": "vp", "ve": "smld", "vp": "ddpm"}
CORRECTORS = {"-": "none", "ald": "annealed_langevin", "langevin": "langevin"}


def _number(text):
    return 0.0 if text == "-" else float(text)


@pytest.fixture(autouse=True)
def memory_without_end(monkeypatch):
    monkeypatch.setattr(memory, "of_machine", lambda: UNLIMITED)
    monkeypatch.setattr(memory, "of_devices", lambda: UNLIMITED)


def test_all_of_the_ancestors_experiments_are_here_under_its_names():
    assert len(ROWS) == 39
    found = {path for path in EXPERIMENTS if path.split("/")[1] in ("vp", "ve", "subvp")}
    assert found == {f"configs/{name}.py" for name in ROWS}


@pytest.mark.parametrize("name", ROWS)
def test_the_ancestors_experiments_have_its_settings(name):
    config, row = experiment_config(f"configs/{name}.py"), ROWS[name]
    (process, data, side, network, width, multipliers, blocks, block, fir, progressive_input, output) = row[
        :11
    ]
    (embedding, noise, levels, dropout, decay, rate, warmup, clip, batch, thousands) = row[11:21]
    (predictor, corrector, corrector_steps, ratio, reduction, centred) = row[21:]

    assert config.sde.name == PROCESSES[process]
    low, high = map(float, noise.split(":"))
    ends = ("beta_min", "beta_max") if process.lower() in ("vp", "subvp") else ("sigma_min", "sigma_max")
    assert (config.sde[ends[0]], config.sde[ends[1]]) == (low, high)
    discrete, levels = process.islower(), int(levels)
    if discrete:
        assert config.sde.noise_levels == config.loss.noise_levels == levels
        assert config.loss.time_grid == "discrete" and config.denoiser.noise_input == "index"
    else:
        assert config.loss.time_grid == "continuous"
        vp = process != "VE"
        assert config.denoiser.noise_input == ("time" if vp else "unscaled_log_sigma")
        assert config.sde.sampling_t_min == (1e-3 if vp else 1e-5)

    kind, _, place = config.data.source.partition(":")
    assert place.removeprefix("data_sets/").removesuffix(".zip") == data and kind in ("tfds", "zip")
    assert (config.data.image_size, config.data.channels) == (int(side), 3)
    assert config.data.crop == (140 if data == "celeb_a" else None)
    assert config.data.centered == (centred == "centred") and config.data.random_flip
    assert not config.data.dequantize
    assert (config.model.recentre or False) == (centred != "centred")

    assert (config.model.name, config.model.width) == (network, int(width))
    if multipliers != "-":
        numbers = multipliers.split(",") if "," in multipliers else multipliers
        assert config.model.multipliers == tuple(map(int, numbers))
        assert config.model.blocks == int(blocks) and config.model.attention == (16,)
        assert config.model.dropout == _number(dropout) and config.model.time_embedding == embedding
    if network == "ncsnpp":
        assert config.model.residual_block == block and config.model.fir == (fir == "T")
        assert config.model.progressive_input == progressive_input
        assert config.model.progressive_output == output and config.model.skip_rescale
        assert fir == "F" or config.model.fir_kernel == (1, 3, 3, 1)
        assert progressive_input == "none" or config.model.progressive_combine == "sum"
    if network == "ncsn":
        assert config.model.noise_levels == levels
    if embedding == "fourier":
        assert config.model.fourier_scale == 16
    # The ancestor's scale_by_sigma is true of all networks of VE but NCSN.
    of_ve = "unscaled_score" if network == "ncsn" else "score"
    assert config.denoiser.parametrization == (of_ve if process.lower() == "ve" else "eps")

    assert config.ema.decays == (float(decay),) and not config.ema.ramp
    assert config.optim.name == "adam" and config.optim.schedule == "constant"
    assert (config.optim.beta1, config.optim.epsilon, config.optim.weight_decay) == (0.9, 1e-8, 0)
    assert config.optim.learning_rate == float(rate) and config.optim.warmup == int(warmup)
    assert config.optim.grad_clip == float(clip)
    assert config.training.batch_size == int(batch) and config.training.steps == 1000 * int(thousands)
    assert config.training.jitted_steps == 5 and config.checkpoint.keep_every == 50_000
    large = "lsun" in data or int(side) > 64
    assert config.checkpoint.every == (5_000 if large else 10_000)
    assert config.loss.reduction == {"mean": "mean", "sum": "half_sum"}[reduction]
    assert config.loss.weighting.name == "simple" and config.loss.time_sampling.name == "uniform"
    assert config.seed == 42

    sampling, released = config.sampling, "" if discrete else "legacy_"
    assert sampling.predictor.name == released + predictor
    assert not sampling.predictor.probability_flow
    named = CORRECTORS[corrector]
    assert sampling.corrector.name == (named if named == "none" else released + named)
    if named != "none":
        assert (sampling.corrector.steps, sampling.corrector.snr) == (int(corrector_steps), float(ratio))
    assert _rows(config) == levels


def _rows(config):
    """Calls of the network that a sample takes, beside those of correctors."""
    return samplers.create(config.sampling, sde_lib.create(config.sde), data_std=None).table.rows


@pytest.mark.parametrize("path", EXPERIMENTS)
def test_every_page_of_the_notebook_is_complete(path):
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    text = module.__doc__
    assert f"--config={path} " in text and "--mode=train" in text and "\nA variation: " in text
    paper = module.PAPER
    assert paper.paper and paper.row and paper.data
    assert paper.seen in ("paper", "code", "quoted", "memory")
    side = int(paper.data.split(", ")[1])
    config = module.get_config()
    assert config.data.image_size == side and not list(schema.mismatches(config))


def _commands(path):
    """The groups of flags between backticks in an experiment's page."""
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    for group in re.findall(r"`(--config[^`]*)`", module.__doc__):
        flags = shlex.split(" ".join(group.split()))
        yield [flag for flag in flags if "=" in flag and not flag.endswith("=") and "<" not in flag]


@pytest.mark.parametrize("path", EXPERIMENTS)
def test_the_flags_that_a_page_names_are_fields(path):
    for flags in _commands(path):
        given = [] if any(flag.startswith("--config=") for flag in flags) else [f"--config={path}"]
        main.parse(["main.py", *given, *flags, "--mode=coefficients"])


def _resolved(config):
    """The config as the data would fill it in."""
    config.data.pixel_values = 256
    config.data.classes = config.data.classes or 0
    if config.data.classes:
        config.data.class_frequencies = (1 / config.data.classes,) * config.data.classes
    return config


def _modes_of_each():
    """Pairs (experiment, mode); those whose kind of network an earlier experiment has are slow."""
    seen = set()
    for path in EXPERIMENTS:
        name = experiment_config(path).model.name
        marks = [pytest.mark.slow] if name in seen else []
        yield from (pytest.param(path, mode, marks=marks) for mode in ("train", "sample", "eval"))
        seen.add(name)


def _require_network(path):
    name = experiment_config(path).model.name
    if name not in MODELS:
        pytest.skip(f'model.name="{name}" is not registered yet')


@pytest.mark.parametrize("path", EXPERIMENTS)
def test_no_experiment_is_refused(path):
    _require_network(path)
    assert check.problems("train", experiment_config(path)) == []


@pytest.mark.parametrize(("path", "mode"), list(_modes_of_each()))
def test_none_is_refused_when_its_images_are_known(path, mode):
    _require_network(path)
    assert check.problems(mode, experiment_config(path)) == []
    assert check.problems(mode, _resolved(experiment_config(path))) == []


def _each_network_once():
    """The experiments as parameters of a test; those whose network an earlier one has are slow."""
    seen = set()
    for path in EXPERIMENTS:
        config = experiment_config(path)
        config.model.dropout = None
        network = (config.model.to_json(), config.data.image_size, config.denoiser.variance_head)
        yield pytest.param(path, marks=[pytest.mark.slow] if network in seen else [])
        seen.add(network)


@pytest.mark.parametrize("path", list(_each_network_once()))
def test_networks_have_as_many_parameters_as_the_list_says(path):
    config = experiment_config(path)
    if config.model.name not in MODELS:
        pytest.skip(f'model.name="{config.model.name}" is not registered yet')
    setup = experiment.create(_resolved(config))
    leaves = jax.tree_util.tree_leaves_with_path(setup.params_template())
    fixed = ("frequencies", "phases")
    trained = [leaf for name, leaf in leaves if jax.tree_util.keystr(name[-1:], simple=True) not in fixed]
    assert sum(math.prod(leaf.shape) for leaf in trained) == EXPERIMENTS[path].parameters


# What `train.py` was run with for each of EDM's models, by its repository: data, images in millions, batch,
# learning rate, half-life of the average in millions of images, dropout, probability of augmentation, calls.
EDM = {
    "cifar10_cond_vp": ("tfds:cifar10", 200, 512, 1e-3, 0.5, 0.13, 0.12, 35),
    "cifar10_cond_ve": ("tfds:cifar10", 200, 512, 1e-3, 0.5, 0.13, 0.12, 35),
    "cifar10_uncond_vp": ("tfds:cifar10", 200, 512, 1e-3, 0.5, 0.13, 0.12, 35),
    "cifar10_uncond_ve": ("tfds:cifar10", 200, 512, 1e-3, 0.5, 0.13, 0.12, 35),
    "ffhq_64_uncond_vp": ("zip:data_sets/ffhq-64x64.zip", 200, 256, 2e-4, 0.5, 0.05, 0.15, 79),
    "ffhq_64_uncond_ve": ("zip:data_sets/ffhq-64x64.zip", 200, 256, 2e-4, 0.5, 0.05, 0.15, 79),
    "afhqv2_64_uncond_vp": ("zip:data_sets/afhqv2-64x64.zip", 200, 256, 2e-4, 0.5, 0.25, 0.15, 79),
    "afhqv2_64_uncond_ve": ("zip:data_sets/afhqv2-64x64.zip", 200, 256, 2e-4, 0.5, 0.25, 0.15, 79),
    "imagenet64_cond_adm": ("zip:data_sets/imagenet-64x64.zip", 2500, 4096, 1e-4, 50, 0.1, 0, 511),
}


@pytest.mark.parametrize("name", EDM)
def test_edms_experiments_have_its_options(name):
    config = experiment_config(f"configs/edm/{name}.py")
    source, images, batch, rate, half_life, dropout, augmentation, calls = EDM[name]
    assert config.data.source == source and config.training.batch_size == batch
    assert 0 <= images * 1_000_000 - config.training.steps * batch < batch
    assert 0 <= 10_000_000 - config.optim.warmup * batch < batch
    assert config.optim.learning_rate == rate and config.optim.grad_clip == 0
    assert config.ema.half_life_images == half_life * 1e6 and config.ema.half_life_ramp == 0.05
    assert config.model.dropout == dropout and config.data.augmentation == augmentation
    assert config.model.class_conditional == ("uncond" not in name)
    assert (config.data.classes or 0) == {"cifar10": 10, "imagenet64": 1000}.get(name.split("_")[0], 0) * (
        "uncond" not in name
    )
    if "adm" not in name:
        assert config.model.augmentation_labels == 9
        ve = name.endswith("_ve")
        assert config.model.fir_kernel == ((1, 3, 3, 1) if ve else (1, 1))
        assert config.model.noise_multiplier == (2 if ve else 1)
        assert config.model.multipliers == ((1, 2, 2, 2) if "64" in name else (2, 2, 2))
    assert _rows(config) == calls


# The presets of EDM2 for ImageNet of side 64: width, learning rate, 2^20 images, dropout.
EDM2 = {"xs": (128, 0.012, 1024, 0), "s": (192, 0.01, 1024, 0), "m": (256, 0.009, 2048, 0.1)}
EDM2 |= {"l": (320, 0.008, 1024, 0.1), "xl": (384, 0.007, 640, 0.1)}


@pytest.mark.parametrize("size", EDM2)
def test_edm2s_experiments_have_its_presets(size):
    config = experiment_config(f"configs/edm2/imagenet64_{size}.py")
    width, rate, images, dropout = EDM2[size]
    assert (config.model.width, config.model.dropout, config.optim.learning_rate) == (width, dropout, rate)
    assert config.training.steps * config.training.batch_size == images << 20
    assert config.training.batch_size == 2048 and config.optim.decay_steps == 35_000
    assert config.optim.schedule == "inverse_sqrt" and config.optim.beta2 == 0.99
    # The code adds the errors of pixels up; what counts in Adam is epsilon beside the gradient.
    assert config.loss.reduction == "mean" and config.optim.epsilon * 3 * 64**2 == pytest.approx(1e-8)
    assert config.loss.time_sampling.log_sigma_mean == -0.8 and config.loss.time_sampling.log_sigma_std == 1.6
    assert _rows(config) == 63


def test_the_list_has_every_experiment_in_aligned_columns(capsys):
    assert main.main(["main.py", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "\n".join(lines) == listing()
    heading, rows = lines[0], lines[1 : 1 + len(EXPERIMENTS)]
    assert [row.split()[0] for row in rows] == list(EXPERIMENTS)
    for name in ("paper", "row", "data"):
        at = heading.index(name)
        assert all(row[at - 1] == " " and row[at] != " " for row in rows)
    for row, paper in zip(rows, EXPERIMENTS.values(), strict=True):
        assert paper.published is None or paper.published in row
    assert any(line.startswith("configs/digits.py") for line in lines)
