"""Variance heads: what minimizes their losses, and training them alone on a network that stays as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiment
import main
from bench import variance_heads
from configs import digits
from denoisers.mixtures import Ring
from losses import Objective
from modes import MODES
from sde_lib import SDES
from tests.conftest import TINY, as_flags
from workdir.checkpoints import Checkpoints

HEADS = ("second_moment", "residual", "covariance")


def _denoise(sde, mixture, head, bend, p):
    """A bent mean, and the variance that this head should find, plus p times some functions of the state."""

    def mean(x, t):
        exact = mixture.denoise(sde, x, t)
        eps = exact.eps + bend * jnp.sin(3 * x[:, ::-1])
        return exact.replace(eps=eps, x0=(x - exact.sigma * eps) / exact.alpha)

    def denoise(x, t):
        exact, found = mixture.denoise(sde, x, t), mean(x, t)
        ratio = (exact.sigma / exact.alpha) ** 2
        mistake = found.eps - exact.eps
        share = {
            "second_moment": exact.x0_variance / ratio + exact.eps**2 - found.eps**2,
            "residual": exact.x0_variance / ratio + mistake**2,
            # The wave has no derivative along its own coordinate: the diagonal is the exact one.
            "covariance": exact.x0_variance / ratio,
        }[head]
        features = p[0] + p[1] * x + p[2] * jnp.cos(2 * x)
        return found.replace(x0_variance=ratio * (share + features))

    return denoise


@pytest.mark.parametrize("name", ["vp", "ve"])
@pytest.mark.parametrize("bend", [0.0, 0.3])
@pytest.mark.parametrize("head", HEADS)
def test_the_loss_is_least_at_the_moment_that_the_head_is_named_after(head, bend, name):
    sde, mixture, count = SDES[name](), Ring(spread=0.2).build(), 40_000
    objective = Objective(sde, variance_head=head, variance_weight=1.0, head_alone=True, sigma_data=0.7)
    x0 = mixture.sample(jax.random.key(0), count)
    keys = jax.random.split(jax.random.key(1), count)
    t = sde.time_of_log_snr(jnp.full(count, 1.0))

    @jax.jit
    def slopes(p):
        return jax.jacfwd(
            lambda p: objective.example_losses(keys, _denoise(sde, mixture, head, bend, p), x0, t)
        )(p)

    at_best = np.asarray(slopes(jnp.zeros(3)))
    assert (np.abs(at_best.mean(axis=0)) < 4.5 * at_best.std(axis=0) / np.sqrt(count)).all()
    beside = np.asarray(slopes(jnp.array([0.1, 0.0, 0.0])))
    assert abs(beside[:, 0].mean()) > 8 * beside[:, 0].std() / np.sqrt(count)


@pytest.mark.slow
def test_a_head_does_not_train_the_mean():
    config = digits.get_config()
    config.update_from_flattened_dict({**TINY, "denoiser.variance_head": "residual"})
    config.update_from_flattened_dict({"loss.variance_weight": 1.0, "data.channels": 1, "data.image_size": 8})
    config.data.pixel_values = 17
    setup = experiment.create(config, MODES["train"].reads)
    params = setup.denoiser.init(jax.random.key(0), setup.shape)
    x0, keys = jnp.zeros((4, 8, 8, 1)), jax.random.split(jax.random.key(1), 4)

    def gradient(weight):
        objective = Objective(setup.sde, variance_head="residual", variance_weight=weight)

        def loss(params):
            return objective.example_losses(keys, setup.denoiser.bind(params), x0, jnp.full(4, 0.5)).mean()

        return jax.grad(loss)(params)

    light, heavy = gradient(1.0), gradient(1000.0)
    of_network = (gradients["network"]["output"]["kernel"] for gradients in (light, heavy))
    np.testing.assert_allclose(*of_network, rtol=1e-4, atol=1e-7)
    of_branch = np.abs(heavy["variance_branch"]["output"]["bias"]).max()
    assert of_branch > 100 * np.abs(light["network"]["output"]["bias"]).max()


def _params(workdir, flags):
    """(averaged parameters, raw parameters, optimizer leaves) of the newest checkpoint of a run."""
    config = digits.get_config()
    config.update_from_flattened_dict({**TINY, **flags})
    config = experiment.resolved(config)
    checkpoints = Checkpoints(workdir, config, read_only=True)
    checkpoints.resolve_data(config.data)
    setup = experiment.create(config, MODES["train"].reads)
    state, _ = checkpoints.restore(setup.state_template())
    return state.ema[setup.ema_names[0]], state.params, state.opt_state


@pytest.mark.parametrize("head", ["residual", "second_moment", "covariance"])
@pytest.mark.slow
def test_a_head_is_trained_alone_on_a_network_that_stays_as_it_is(head, tmp_path, capsys):
    network, workdir = tmp_path / "network", tmp_path / "head"
    arguments = ["main.py", "--config=configs/digits.py"]
    plain = {**TINY, "training.steps": 2}
    assert main.main([*arguments, f"--workdir={network}", "--mode=train", *as_flags(plain)]) == 0
    of_head = {"denoiser.variance_head": head, "loss.variance_weight": 1.0}
    of_head["training.network_from"] = str(network)
    if head == "residual":
        of_head["loss.time_grid"] = "discrete"
    run = [*arguments, f"--workdir={workdir}"]
    first = {**TINY, **of_head, "training.steps": 3}
    assert main.main([*run, "--mode=train", *as_flags(first)]) == 0
    assert "step 2, stays as it is" in capsys.readouterr().err
    assert main.main([*run, "--mode=train", *as_flags({**first, "training.steps": 5})]) == 0
    assert "resuming at step 3" in capsys.readouterr().err

    before = _params(network, {"training.steps": 2})[0]
    average, params, optimizer = _params(workdir, {**of_head, "training.steps": 5})
    for found in (average, params):
        assert found.keys() == {"network", "variance_branch"}
        jax.tree.map(np.testing.assert_array_equal, found["network"], before)
        assert np.abs(found["variance_branch"]["output"]["bias"]).max() > 0
    kept = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(optimizer)[0]}
    assert any("variance_branch" in path for path in kept)
    assert not any("'network'" in path for path in kept)

    sampling = {"sampling.predictor": "ancestral", "sampling.corrector": "none"}
    flags = as_flags({**first, **sampling, "sampling.variance": "predicted"})
    assert main.main([*run, "--mode=sample", *flags]) == 0
    predicted = np.load(workdir / "samples.npz")["images"]
    assert main.main([*run, "--mode=sample", *as_flags({**first, **sampling})]) == 0
    assert (np.load(workdir / "samples.npz")["images"] != predicted).any()
    with np.load(workdir / "samples.npz") as found:
        assert found["step"] == 5

    # The measured table of the network is that of its head's run.
    measured = as_flags({**plain, "variance.levels": 2, "variance.examples": 16})
    assert main.main([*arguments, f"--workdir={network}", "--mode=variance", *measured]) == 0
    capsys.readouterr()
    table = {"sampling.variance": "analytic", "sampling.variance.file": network / "variance.npz"}
    assert main.main([*run, "--mode=sample", *as_flags({**first, **sampling, **table})]) == 0
    assert "other parameters" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"denoiser.variance_head": "variance"}, ['denoiser.variance_head="variance"', "residual"]),
        ({"denoiser.variance_head": "residual"}, ['variance_head="residual"', "loss.variance_weight=0.0"]),
        ({"loss.variance_weight": 1.0}, ['variance_head="none"', "loss.variance_weight=1.0"]),
        ({"training.network_from": "/proc/none"}, ["training.network_from", 'variance_head="none"']),
        (
            {
                "training.network_from": "/proc/none",
                "denoiser.variance_head": "residual",
                "loss.variance_weight": 1.0,
            },
            ["no checkpoint in /proc/none", "training.network_from names"],
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields, words, tmp_path, capsys):
    flags = as_flags({**TINY, **fields})
    arguments = ["main.py", "--config=configs/digits.py", f"--workdir={tmp_path}", "--mode=train"]
    assert main.main([*arguments, *flags]) in (1, 2)
    error = capsys.readouterr().err
    for word in words:
        assert word in error


def test_a_network_of_another_config_is_refused_by_name(tmp_path, capsys):
    network, workdir = tmp_path / "network", tmp_path / "head"
    arguments = ["main.py", "--config=configs/digits.py", "--mode=train"]
    plain = {**TINY, "training.steps": 1}
    assert main.main([*arguments, f"--workdir={network}", *as_flags(plain)]) == 0
    flags = {**plain, "denoiser.variance_head": "residual", "loss.variance_weight": 1.0, "model.width": 16}
    flags["training.network_from"] = str(network)
    assert main.main([*arguments, f"--workdir={workdir}", *as_flags(flags)]) == 2
    error = capsys.readouterr().err
    assert "model.width: 8 -> 16" in error and "training.network_from needs" in error
    assert not (workdir / "checkpoints").exists() or not list((workdir / "checkpoints").glob("[0-9]*"))


@pytest.mark.slow
def test_the_covariance_head_learns_the_moments_of_a_mixture():
    found = variance_heads.train("covariance", 300, every=100)
    assert found.errors[-1] < found.errors[0] and found.errors[-1] < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_heads_approach_the_exact_moments(head):
    found = variance_heads.train(head, 4000)
    assert found.errors[-1] < 0.5 * found.errors[0] and (found.by_level < 0.05).all()


@pytest.mark.slow
def test_the_residual_beats_the_second_moment_where_the_mean_is_wrong():
    residual, second = (
        variance_heads.train(head, 2000, perturbation=0.2).implied for head in ("residual", "second_moment")
    )
    assert (residual < 0.5 * second).all()
