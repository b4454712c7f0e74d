"""A run from Python: the same numbers as the modes write, and as mathematics gives for a mixture."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiment
import main
from components import ConfigError
from configs import gaussian_mixture
from modes import MODES
from sde_lib.noise import example_keys, normal
from tests.conftest import ROOT, TINY, as_flags, environment
from workdir.checkpoints import Checkpoints

FIELDS = {**TINY, "training.steps": 4, "ema.decays": "(0.9, 0.0)", "checkpoint.every": 2}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of four steps on digits with two averages; one of decay 0 is the last parameters."""
    workdir = tmp_path_factory.mktemp("experiment") / "runs" / "digits"
    command = ["main.py", "--config=configs/digits.py", f"--workdir={workdir}", *as_flags(FIELDS)]
    assert main.main(command) == 0
    return workdir


@pytest.fixture(scope="module")
def ring():
    return experiment.load(config=gaussian_mixture.get_config("ring"))


def test_it_samples_what_the_mode_samples(workdir):
    run = experiment.load(workdir)
    images = run.sample(8, predictor={"name": "ddim"}, corrector="none", steps=4)
    assert images.shape == (8, 8, 8, 1) and images.dtype == np.uint8
    command = ["main.py", f"--workdir={workdir}", "--mode=sample", "--config.sampling.num_samples=16"]
    fields = {"predictor": "ddim", "corrector": "none", "steps": 4}
    assert main.main([*command, *as_flags({f"sampling.{k}": v for k, v in fields.items()})]) == 0
    with np.load(workdir / "samples.npz") as found:
        # Batches of another size sum in another order, and a rounding may reach the next pixel value.
        difference = np.abs(found["images"][:8].astype(int) - images)
    assert difference.max() <= 1 and difference.mean() < 0.01


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"stps": 3}, "sampling.stps"),
        ({"predictor": "ddm"}, "ddim"),
        ({"predictor": {"nam": "edm"}}, "Its fields: .*name"),
        ({"steps": "ten"}, "sampling.steps"),
        ({"temperature": float("nan")}, "sampling.temperature"),
        ({"label": 10}, "sampling.labels"),
        ({"label": np.int64(1)}, "does not read them"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(workdir, fields, said):
    run = experiment.load(workdir)
    with pytest.raises(ConfigError, match=said):
        run.sample(1, **fields)


def test_arrays_that_are_none_of_the_model_s_are_refused(workdir):
    run = experiment.load(workdir)
    images = np.zeros((2, 8, 8, 1), np.uint8)
    wrong = [images[:, :5], images[:0], images[0], images + 17, images.astype(np.float32)]
    for array in wrong:
        for use in (run.log_likelihood, run.encode):
            with pytest.raises(ValueError, match="images"):
                use(array)
    x = np.zeros((2, 8, 8, 1), np.float32)
    for arguments in ((x[:, :5], 0.5), (x, [0.5]), (x, 5.0)):
        with pytest.raises(ValueError, match="shape|must lie in"):
            run.denoise(*arguments)
    assert run.denoise(x, 0.5).x0.shape == x.shape
    with pytest.raises(ValueError, match="count"):
        run.sample(0)


def test_step_and_average_are_chosen_by_restore(workdir):
    def load(**fields):
        config = experiment.load(workdir).config.copy_and_resolve_references()
        config.restore.update(fields)
        return experiment.load(workdir, config)

    newest = load()
    assert newest.checkpoint["step"] == 4 and load(step=2).checkpoint["step"] == 2
    config = newest.config.copy_and_resolve_references()
    checkpoints = Checkpoints(workdir, experiment.resolved(config), read_only=True)
    made = experiment.create(config, MODES["train"].reads)
    state, _ = checkpoints.restore(made.state_template())
    checkpoints.close()

    def distance(a, b):
        return max(jax.tree.leaves(jax.tree.map(lambda x, y: float(np.abs(x - y).max()), a, b)))

    assert distance(newest.params, state.ema["0.9"]) == 0
    last = load(average=0.0).params
    assert distance(last, state.params) < 1e-6 < 1e-5 < distance(newest.params, state.params)
    with pytest.raises(ConfigError, match=r"restore\.average"):
        load(average=0.5)


@pytest.mark.slow
def test_codes_lead_back_to_their_images(workdir):
    run = experiment.load(workdir)
    run.config.encoding.tolerance, run.config.eval.bits_per_dim.tolerance = 1e-3, 1e-2
    images = run.sample(4)
    codes = run.encode(images)
    assert codes.shape == images.shape
    # The flow starts at t_min, where the noise is far below half a pixel value.
    assert np.abs(run.decode(codes).astype(int) - images).max() <= 1
    assert run.log_likelihood(images).shape == (4,)


def test_the_log_likelihood_of_a_mixture_is_exact(ring):
    x = np.asarray(ring.sample(6))
    sde = ring.experiment.sde
    exact = ring.experiment.mixture.log_prob(x, float(sde.alpha(sde.t_min)), float(sde.sigma(sde.t_min)))
    np.testing.assert_allclose(ring.log_likelihood(x), exact, atol=5e-3)


def test_it_denoises_as_the_mixture_does(ring):
    x = normal(example_keys(ring.experiment.key("test"), jnp.arange(5)), (2,))
    t = jnp.linspace(0.1, 0.9, 5)
    exact = ring.experiment.mixture.denoise(ring.experiment.sde, x, t)
    np.testing.assert_allclose(ring.denoise(x, t).x0, exact.x0, rtol=1e-5)


def _readme_block():
    text = (ROOT / "README.md").read_text().split("## From Python")[1]
    return re.search(r"```python\n(.*?)```", text, re.S)[1]


CHECKED = """
assert images.shape == (16, 8, 8, 1), images.shape
assert digits.encode(images[:2]).shape == (2, 8, 8, 1)
"""


def test_the_readme_s_lines_run_in_another_folder(workdir):
    elsewhere = workdir.parent.parent
    subprocess.run(
        [sys.executable, "-c", _readme_block() + CHECKED],
        cwd=elsewhere,
        env={**environment(1), "PYTHONPATH": str(ROOT)},
        check=True,
    )


@pytest.mark.slow
def test_the_readme_s_lines_run_after_pip_install(workdir, tmp_path):
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in files.stdout.split():
        if not name.startswith(("tests/", "docs/")):
            (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "project" / name)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "-e", tmp_path / "project"], check=True
    )
    # What the project needs is not fetched again: it is that of this environment.
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "tested.pth").write_text(f"{Path(sysconfig.get_path('purelib'))}\n")
    subprocess.run(
        [python, "-c", _readme_block() + CHECKED],
        cwd=workdir.parent.parent,
        env=environment(1),
        check=True,
    )
