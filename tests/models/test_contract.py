"""A network is what models/network.py says, and nothing more: ten lines train, sample and are evaluated."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
import models
from components import ConfigError
from configs import base
from denoisers.heads import VARIANCE_HEADS, attach
from denoisers.network import create
from models.unet import UNet
from sde_lib.noise import root_key
from sde_lib.vp import VP
from tests.conftest import TINY, as_flags
from tests.test_readme import recipe

MyNet = recipe("A network")["MyNet"]
EXPERIMENT = """
from configs import digits

def get_config():
    config = digits.get_config()
    for name in config.model:
        config.model[name] = None
    config.model.name = "mynet"
    return config
"""


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs main on a config with MyNet: run(mode, {...}) -> (exit code, what it said)."""
    monkeypatch.setitem(models.MODELS, "mynet", MyNet)
    experiment = tmp_path / "mynet.py"
    experiment.write_text(EXPERIMENT)
    plain = {name: value for name, value in TINY.items() if not name.startswith("model.")}
    plain |= {"eval.evaluators": "loss,two_sample", "sampling.corrector": "none", "training.steps": 2}

    def run(mode, fields=None):
        flags = as_flags({**plain, **(fields or {})})
        arguments = ["main.py", f"--config={experiment}", f"--workdir={tmp_path / 'run'}", f"--mode={mode}"]
        return main.main([*arguments, *flags]), capsys.readouterr().err

    return run


def test_a_network_of_ten_lines_is_trained_sampled_and_evaluated(run, tmp_path):
    for mode in ("train", "sample", "eval"):
        assert run(mode)[0] == 0
    with np.load(tmp_path / "run" / "samples.npz") as samples:
        assert samples["images"].shape == (16, 8, 8, 1)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert np.isfinite(metrics["loss"]["model"]).all()


def test_a_network_of_ten_lines_takes_a_shared_head_and_refuses_a_branch_by_name(run):
    head = {"denoiser.variance_head": "fraction", "loss.variance_weight": 0.001}
    assert run("train", {**head, "loss.time_grid": "discrete", "training.steps": 1})[0] == 0
    code, error = run("train", {"denoiser.variance_head": "residual", "loss.variance_weight": 1.0})
    assert code == 2 and "variance_head" in error and "features" in error and "MyNet" in error


@pytest.mark.parametrize("name", [name for name, head in VARIANCE_HEADS.items() if head])
def test_a_head_leaves_the_mean_of_the_network_below_it(name):
    network = UNet(channels=2, width=8, multipliers=(1, 2), blocks=1, attention=(4,))
    config = base.get_config().denoiser
    plain = create(config, network, VP())
    config.variance_head = name
    headed = create(config, network, VP())
    x, t = jax.random.normal(root_key(1), (3, 8, 8, 2)), jnp.array([0.1, 0.5, 0.9])
    params = headed.init(root_key(0), x.shape[1:])
    found = jax.jit(headed)(params, x, t)
    known = found.x0_variance if VARIANCE_HEADS[name].output == "branch" else found.variance_fraction
    assert known.shape == found.eps.shape == x.shape
    if VARIANCE_HEADS[name].output == "branch":
        assert params.keys() == {"network", "variance_branch"}
        np.testing.assert_allclose(found.eps, jax.jit(plain)(params["network"], x, t).eps, atol=1e-6)


def test_a_head_on_a_network_without_features_is_refused_at_creation():
    with pytest.raises(ConfigError, match="MyNet.*features"):
        attach("covariance", MyNet(channels=1))
