"""Training steps on a mesh: the parameters of one device, and what crosses devices to get them."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiment
from modes import MODES
from parallel.devices import Pmap
from parallel.mesh import Mesh
from parallel.program_text import collectives
from parallel.shares import Whole
from training.step import TrainStep

STEPS = 20
IMAGES = np.random.default_rng(0).integers(0, 17, (STEPS, 16, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def setup():
    from configs import digits

    config = digits.get_config()
    config.update_from_flattened_dict(
        {"model.width": 16, "model.multipliers": (1,), "model.blocks": 1, "model.attention": ()}
        | {"data.image_size": 8, "data.channels": 1, "data.pixel_values": 17}
        | {"loss.time_sampling.name": "loss_history", "loss.noise_levels": 5}
        # With Adam's own epsilon the first updates are the gradient's sign, which rounding may turn.
        | {"optim.epsilon": 1e-3, "optim.warmup": 5, "training.batch_size": 16}
    )
    return experiment.create(config, MODES["train"].reads)


class Alone:
    """The step compiled by `jax.jit` for one device, on the whole batch: what every layout has to give."""

    def place(self, state):
        return state

    def split(self, batches):
        return batches

    def compile(self, body):
        return jax.jit(lambda state, batches, key: body(state, batches, jnp.arange(16), key, Whole()))

    def host(self, tree):
        return jax.device_get(tree)


def _program(setup, layout):
    parts = (setup.denoiser, setup.objective, setup.optimizer, setup.transform)
    step = TrainStep(*parts, batch_size=16, averages=setup.averages, unroll=True)
    state, batches = layout.place(setup.create_state()), layout.split({"image": IMAGES[:1]})
    return state, layout.compile(step).lower(state, batches, setup.key("train")).compile()


def _trained(setup, layout):
    state, program = _program(setup, layout)
    losses = []
    for i in range(STEPS):
        state, metrics = program(state, layout.split({"image": IMAGES[i : i + 1]}), setup.key("train"))
        losses.append((metrics["loss"][0], metrics["gradient_norm"][0], *metrics["by_level"][0].ravel()))
    return layout.host(state), np.array(losses), program.as_text(), state


@pytest.fixture(scope="module")
def of_one(setup):
    # Dropout is on, and dequantization: all noise belongs to examples.
    assert setup.denoiser.network.dropout > 0 and setup.transform.dequantize
    return _trained(setup, Alone())


@pytest.fixture(scope="module")
def of_mesh(setup):
    return functools.cache(lambda fsdp, rules=(): _trained(setup, Mesh(fsdp, rules)))


@pytest.mark.parametrize("name", ["pmap", "mesh", "mesh, split"])
def test_every_layout_of_eight_devices_gives_the_parameters_of_one(setup, of_one, of_mesh, name):
    if name == "pmap":
        state, metrics, _, _ = _trained(setup, Pmap())
    else:
        state, metrics, _, _ = of_mesh(4 if name == "mesh, split" else 1)
    np.testing.assert_allclose(metrics, of_one[1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics[:, 0], of_one[1][:, 0], rtol=1e-5)
    for found, expected in (
        (state.params, of_one[0].params),
        (state.ema, of_one[0].ema),
        (state.loss_history, of_one[0].loss_history),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6, rtol=1e-5), found, expected)


def _collectives(text):
    """Bytes of the results of each kind of collective of a compiled program."""
    found = {}
    for collective in collectives(text, len(jax.devices())):
        found.setdefault(collective.kind, []).append(collective.bytes)
    return found


def test_gradients_cross_devices_once(setup, of_mesh):
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(setup.create_params()))
    found = _collectives(of_mesh(1)[2])
    # Equal gradients, of the biases of two layers that are added, cross once.
    assert 0.99 * size <= sum(found.pop("all-reduce")) < 1.02 * size + 200
    # What is left are the times and losses of the batch, for the history of losses.
    assert sum(map(sum, found.values())) < 16 * 50


def test_split_parameters_are_gathered_and_their_gradients_scattered(setup, of_mesh):
    _, _, text, state = of_mesh(4)
    layout = Mesh(4)
    params = setup.create_params()
    split = jax.tree.map(lambda leaf, spec: leaf.nbytes if spec else 0, params, layout.specs(params))
    split, whole = sum(jax.tree.leaves(split)), sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert split > 0.9 * whole
    found = _collectives(text)
    assert split <= sum(found["all-gather"]) < 1.02 * split + 2_000
    assert 0.99 * split < 4 * sum(found["reduce-scatter"]) <= split
    # The parts that two devices have alike, what is not split, two norms of each part, and the metrics.
    norms = 8 * len(jax.tree.leaves(params))
    assert sum(found["all-reduce"]) <= split // 4 + whole - split + norms + 100
    # Moments and averages lie where their parameters do.
    kernel = state.params["input"]["kernel"].sharding.spec
    assert kernel and state.ema[next(iter(state.ema))]["input"]["kernel"].sharding.spec == kernel
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state.opt_state))
    assert held < 0.35 * sum(leaf.nbytes for leaf in jax.tree.leaves(state.opt_state))


def test_the_state_is_updated_in_place(of_mesh):
    for fsdp in (1, 4):
        _, _, text, state = of_mesh(fsdp)
        aliased = re.search(r"input_output_alias=\{(.*?)\}, entry", text)[1].count("may-alias")
        assert aliased == len(jax.tree.leaves(state))


def test_rules_say_which_arrays_are_split(setup):
    layout = Mesh(4, (("kernel", "fsdp:2"), ("", "replicated")))
    specs = layout.specs(setup.create_params())
    assert specs["ResidualBlock_0"]["Conv_0"]["kernel"] == jax.sharding.PartitionSpec(None, None, "fsdp")
    assert specs["ResidualBlock_0"]["Conv_0"]["bias"] == jax.sharding.PartitionSpec()


def _by_path(tree):
    """[(path as text, leaf)]."""
    found = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in found]


def test_rules_that_do_nothing_or_cannot_be_followed_are_told(setup):
    params = setup.params_template()
    first, shape = next(
        (path, leaf.shape) for path, leaf in _by_path(params) if path.endswith("Conv_0/kernel")
    )
    rules = ((f"^{first}$", "fsdp:0"), ("nowhere", "replicated"))
    nowhere, of_first = Mesh(4, rules).unfit(params)
    assert "'nowhere' is found in no parameter's path" in nowhere
    assert f"fsdp:0 cannot split {first} of shape {shape} into training.fsdp=4" in of_first
    assert not list(Mesh(4, ((f"^{first}$", "replicated"),)).unfit(params))


def test_a_rule_is_of_a_parameter_wherever_the_state_has_its_like(setup):
    first = next(path for path, _ in _by_path(setup.params_template()) if path.endswith("Conv_0/kernel"))
    whole = Mesh(4, ((f"^{first}$", "replicated"),)).place(setup.create_state())
    split = Mesh(4).place(setup.create_state())
    # The parameter, its average, and both of its moments.
    same = [path for path, _ in _by_path(whole) if path.endswith(f"/{first}")]
    assert len(same) == 4
    for (path, a), (_, b) in zip(_by_path(whole), _by_path(split), strict=True):
        assert a.is_fully_replicated == (b.is_fully_replicated or path in same), path
        assert not (path in same and b.is_fully_replicated), path


def test_the_layout_is_told(setup):
    params = setup.params_template()
    assert (
        Mesh(1).described(params)
        == "a mesh of 8 x 1 devices (data x fsdp): every device holds all parameters"
    )
    told = Mesh(4, (("bias|scale", "replicated"),)).described(params)
    assert told.startswith("a mesh of 2 x 4 devices (data x fsdp): ") and "are split into 4" in told
