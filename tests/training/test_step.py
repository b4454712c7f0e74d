"""One training step: what it computes and changes; tests/parallel has it on several devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import experiment
from modes import MODES
from parallel.batches import BatchMap, one_by_one
from parallel.devices import Pmap, shard
from parallel.mesh import Mesh
from parallel.shares import Whole
from sde_lib import noise
from training.step import TrainStep


@pytest.fixture
def setup(tiny_config):
    tiny_config.data.update({"image_size": 8, "channels": 1, "pixel_values": 17})
    return experiment.create(tiny_config, MODES["train"].reads)


IMAGES = np.random.default_rng(0).integers(0, 17, (3, 16, 8, 8, 1), dtype=np.uint8)


def _step(setup, unroll=False, accumulation=1):
    parts = (setup.denoiser, setup.objective, setup.optimizer, setup.transform)
    return TrainStep(*parts, batch_size=16, averages=setup.averages, unroll=unroll, accumulation=accumulation)


def _run(setup, devices, unroll=False, accumulation=1):
    compiled = Pmap(jax.devices()[:devices]).compile(_step(setup, unroll, accumulation))
    images = IMAGES.reshape(3, devices, -1, 8, 8, 1).swapaxes(0, 1)
    return compiled(jax.device_get(setup.create_state()), {"image": images}, setup.key("train"))


@pytest.mark.slow
def test_the_loss_history_is_the_same_on_every_number_of_devices(tiny_config):
    tiny_config.data.update({"image_size": 8, "channels": 1, "pixel_values": 17})
    tiny_config.loss.update({"time_sampling": {"name": "loss_history"}, "noise_levels": 5})
    setup = experiment.create(tiny_config, MODES["train"].reads)
    one, eight = _run(setup, 1)[0].loss_history, _run(setup, 8)[0].loss_history
    assert one.counts.sum() == 3 * 16 and one.losses.shape == (5, 10)
    np.testing.assert_array_equal(eight.counts, one.counts)
    np.testing.assert_allclose(eight.losses, one.losses, rtol=1e-4)


@pytest.mark.slow
def test_inner_steps_in_a_loop_are_those_unrolled(setup):
    loop, unrolled = _run(setup, 1, unroll=False), _run(setup, 1, unroll=True)
    assert int(loop[0].step) == 3 and loop[1]["loss"].shape == (3,)
    np.testing.assert_allclose(loop[1]["loss"], unrolled[1]["loss"], rtol=1e-5)


def test_the_gradient_is_that_of_the_mean_loss_over_the_batch(setup):
    # Against a plain gradient on the whole batch, without pmap: no factor of the devices.
    state = setup.create_state()
    key = jax.random.fold_in(setup.key("train"), 0)
    data, times, noises, dropout = noise.split(noise.example_keys(key, jnp.arange(16)), 4)
    x0 = setup.transform.training(data, IMAGES[0])
    t = setup.objective.times(times, jax.random.fold_in(key, 16), jnp.arange(16), 16).t

    def loss(params):
        losses = setup.objective.example_losses(
            noises, lambda x, t: setup.denoiser(params, x, t, dropout_keys=dropout), x0, t
        )
        return losses.mean()

    value, gradient = jax.jit(jax.value_and_grad(loss))(state.params)
    _, metrics = _run(setup, 8)
    np.testing.assert_allclose(metrics["loss"][0], value, rtol=1e-5)
    np.testing.assert_allclose(metrics["gradient_norm"][0], optax.tree.norm(gradient), rtol=1e-4)


@pytest.mark.parametrize("layout", [Pmap(), Mesh(4)], ids=["pmap", "mesh"])
def test_a_placed_state_compiles_once(setup, layout):
    step, traces = _step(setup, unroll=True), []

    def counted(*arguments):
        traces.append(1)
        return step(*arguments)

    compiled = layout.compile(counted)
    state, batches = layout.place(setup.create_state()), layout.split({"image": IMAGES[:1]})
    key = setup.key("train")
    for _ in range(3):
        state, _ = compiled(state, batches, key)
    assert len(traces) == 1


def test_shard_gives_consecutive_examples_to_each_device():
    x = np.arange(2 * 16).reshape(2, 16)
    shards = shard(x, axis=1)
    assert shards.shape == (8, 2, 2)
    np.testing.assert_array_equal(shards[3], x[:, 6:8])


def test_batch_map_covers_every_example_once():
    double = BatchMap(lambda factor, x: {"y": factor * x["a"]}, batch_size=16)
    a = np.arange(37, dtype=np.float32)
    np.testing.assert_array_equal(double(2.0, {"a": a})["y"], 2 * a)


def test_one_by_one_gives_each_example_to_the_function_as_a_batch_of_one():
    def function(x, label):
        assert x.shape == (1, 3) and label.shape == (1,)
        return jax.vmap(lambda row: row * label[0])(x)

    x, label = jnp.arange(12.0).reshape(4, 3), jnp.arange(4)
    np.testing.assert_array_equal(one_by_one(function)(x, label), x * label[:, None])


@pytest.mark.parametrize("unroll", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_batch_in_parts_gives_the_parameters_of_the_whole(tiny_config, unroll):
    # With everything that draws or gathers: dropout, dequantization, a loss history.
    tiny_config.data.update({"image_size": 8, "channels": 1, "pixel_values": 17})
    tiny_config.loss.update({"time_sampling": {"name": "loss_history"}, "noise_levels": 5})
    # With Adam's own epsilon the first update is the gradient's sign, which rounding may turn.
    tiny_config.optim.update({"learning_rate": 1.0, "warmup": 0, "epsilon": 1.0, "grad_clip": 0.0})
    setup = experiment.create(tiny_config, MODES["train"].reads)
    start = jax.tree.map(jnp.asarray, setup.create_state())

    def one(accumulation):
        step = _step(setup, unroll, accumulation)
        shares = (jnp.arange(16), setup.key("train"), Whole())
        return jax.jit(lambda state, batch: step.one(state, batch, *shares))(start, {"image": IMAGES[0]})

    whole, parts = one(1), one(4)
    np.testing.assert_allclose(parts[1]["loss"], whole[1]["loss"], rtol=1e-5)
    np.testing.assert_allclose(parts[0].loss_history.losses, whole[0].loss_history.losses, rtol=1e-4)
    moved = [np.abs(a - b).max() for a, b in _leaves(whole[0].params, start.params)]
    apart = [np.abs(a - b).max() for a, b in _leaves(whole[0].params, parts[0].params)]
    assert max(moved) > 0.01 and max(apart) < 1e-5


def _leaves(*trees):
    return zip(*map(jax.tree.leaves, trees), strict=True)


def test_weights_are_normalized_after_the_step_and_averages_are_of_them(tiny_config):
    tiny_config.data.update({"image_size": 8, "channels": 1, "pixel_values": 17})
    tiny_config.model.update({"name": "edm2", "dropout": None, "head_width": 8})
    tiny_config.denoiser.update({"noise_input": "log_sigma", "uncertainty": True})
    tiny_config.ema.update({"decays": (), "power_stds": (0.1,)})
    tiny_config.optim.update({"learning_rate": 0.1, "warmup": 0})
    setup = experiment.create(tiny_config, MODES["train"].reads)
    state, _ = _run(setup, 1)
    for part in (state.params, state.ema["power_0.1"]):
        assert part.keys() == {"network", "uncertainty"}
    for kernel in (
        state.params["network"]["encoder_0_input"]["kernel"],
        state.params["uncertainty"]["linear"]["kernel"],
    ):
        axes = tuple(range(kernel.ndim - 1))
        np.testing.assert_allclose(np.sqrt(np.mean(kernel**2, axis=axes)), 1, atol=2e-4)
    before = setup.create_params()["uncertainty"]["linear"]["kernel"]
    assert np.abs(before - state.params["uncertainty"]["linear"]["kernel"]).max() > 0.01
