"""Every experiment of configs/ at reduced width: a training step and a sample, through main.py."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

import main
from modes.listing import experiments
from tests.conftest import as_flags, experiment_config

EXPERIMENTS = tuple(experiments())


def _kinds(path):
    """What of an experiment another one may have in common with it: its network, loss, sampler."""
    config = experiment_config(path)
    model, loss, sampling = config.model, config.loss, config.sampling
    return {
        ("network", model.name),
        ("loss", loss.error, loss.weighting.name, loss.time_sampling.name, loss.time_grid),
        ("parametrization", config.denoiser.parametrization, config.denoiser.variance_head),
        ("predictor", sampling.predictor.name, sampling.variance.name),
        ("corrector", sampling.corrector.name),
    }


def _covering():
    """A few experiments that together have every kind of network, loss and sampler."""
    kinds = {path: _kinds(path) for path in EXPERIMENTS}
    missing, chosen = set.union(*kinds.values()), []
    while missing:
        chosen.append(max(EXPERIMENTS, key=lambda path: len(kinds[path] & missing)))
        missing -= kinds[chosen[-1]]
    return chosen


# Networks whose programs take a minute or more to compile; their experiments' losses and samplers have tests
# of their own.
LONG_TO_COMPILE = ("adm", "dhariwal_unet", "ncsn", "ncsnv2", "song_unet")


def _marked(path):
    long = experiment_config(path).model.name in LONG_TO_COMPILE
    return pytest.param(path, marks=pytest.mark.slow if long else ())


COVERING = [_marked(path) for path in _covering()]


def _reduced(path, levels):
    """Fields that make an experiment small, of so many resolutions, and leave its kind as it is."""
    model = experiment_config(path).model
    side = 8
    fields = {
        "model.width": 32,
        "data.image_size": side,
        "data.crop": None,
        "data.crop_corner": None,
        "data.resize": None,
        "training.steps": 1,
        "training.batch_size": 8,
        "training.jitted_steps": 1,
        "training.accumulation": 1,
        "training.log_every": 1,
        "training.eval_every": 0,
        "training.sample_every": 1,
        "checkpoint.every": 1,
        "sampling.num_samples": 8,
        "sampling.batch_size": 8,
        "sampling.steps": 25,  # fewer are none of the released code
        "sampling.largest_bias": None,
        "eval.batch_size": 8,
        "eval.loss_levels": 2,
    }
    if not model.multipliers:
        fields["model.width"] = 8  # no groups of channels to normalize
    else:
        fields |= {"model.multipliers": model.multipliers[:levels], "model.blocks": 1}
    if model.attention:
        fields["model.attention"] = (side // levels,)
    if experiment_config(path).sampling.corrector.steps:
        fields["sampling.corrector.steps"] = 1
    if model.head_width:
        fields["model.head_width"] = 16
    if model.name == "ncsnv2":
        fields |= {"data.image_size": 16, "model.form": 64}
    return fields


@pytest.fixture(autouse=True)
def programs_are_freed():
    """Frees the compiled programs of each test: all of them are more than a process may map."""
    yield
    jax.clear_caches()


def _runs(path, tmp_path, levels=2):
    config, fields = experiment_config(path), _reduced(path, levels)
    rng = np.random.default_rng(0)
    side = fields["data.image_size"]
    arrays = {}
    for split in ("train", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 256, (16, side, side, 3), np.uint8)
        if config.data.classes:
            arrays[f"{split}_labels"] = np.arange(16) % config.data.classes
    np.savez(tmp_path / "images.npz", **arrays)
    fields |= {"data.source": f"npz:{tmp_path / 'images.npz'}"}
    run = tmp_path / "run"
    flags = [f"--config={path}", f"--workdir={run}", *as_flags(fields)]
    assert main.main(["main.py", "--mode=train", *flags]) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (loss,) = (row["loss"] for row in rows if "loss" in row)
    assert np.isfinite(loss)
    (picture,) = run.glob("samples_*.png")
    assert len(np.unique(np.asarray(Image.open(picture)))) > 1


@pytest.mark.parametrize("path", COVERING)
def test_every_kind_of_experiment_takes_a_step_and_draws(path, tmp_path):
    progressive = (experiment_config(path).model.progressive_input or "none") != "none"
    _runs(path, tmp_path, 2 if progressive else 1)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPERIMENTS)
def test_every_experiment_takes_a_step_and_draws(path, tmp_path):
    _runs(path, tmp_path)
