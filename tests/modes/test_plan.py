"""Plans: what a training costs, against figures counted by hand."""

import dataclasses
import importlib.util
import json

import jax
import jax.numpy as jnp
import pytest

import experiment
import main
from components import ConfigError
from experiment import ahead
from modes import MODES, check, plan
from parallel.chips import CHIPS
from parallel.program_text import Collective
from reports import figures
from reports import plan as shown
from tests.conftest import TINY, as_flags

READS = MODES["plan"].reads
FIELDS = {**TINY, "sampling.predictor": "ddim", "sampling.corrector": "none", "sampling.steps": 3}
COMMAND = ["main.py", "--mode=plan", "--config=configs/digits.py", *as_flags(FIELDS)]


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """(plan.json, plan.md) of the tiny network on eight devices."""
    folder = tmp_path_factory.mktemp("plan")
    assert main.main([*COMMAND, "--config.plan.compilations=1", f"--output={folder}"]) == 0
    return json.loads((folder / "plan.json").read_text()), (folder / "plan.md").read_text()


@pytest.fixture
def tiny(tiny_config):
    """The tiny config with what it takes of its data."""
    plan.learn(tiny_config)
    return tiny_config


def test_a_plan_counts_parameters_without_making_them(planned, tiny):
    params = experiment.create(tiny, READS).create_params()
    assert planned[0]["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert planned[0]["batch_size"] == 16 and planned[0]["share"] == 2


def test_gradients_are_what_crosses_devices(planned):
    found = planned[0]["training"]["collectives"]
    size = 4 * planned[0]["parameters"]
    assert 0.98 * size < found["all-reduce"]["bytes"] < 1.02 * size + 200
    assert found["all-reduce"]["sent"] == pytest.approx(2 * 7 / 8 * found["all-reduce"]["bytes"])
    assert set(found) == {"all-reduce"}


def test_the_state_lies_in_the_place_of_its_predecessor(planned, tiny):
    state = experiment.create(tiny, READS).state_template()
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    found = planned[0]["training"]
    assert found["aliased"] == pytest.approx(size, rel=0.01)
    # Beside it two images, the key; and metrics.
    assert size <= found["arguments"] < size + 2_000
    total = (found[name] for name in ("arguments", "outputs", "temporaries", "code"))
    assert found["memory"] == sum(total) - found["aliased"]


def test_a_sample_costs_its_network_calls(planned):
    training, sampling = planned[0]["training"], planned[0]["sampling"]
    assert sampling["share"] == planned[0]["share"] and sampling["nfe"] == 4
    # Forward and backward take three times as much as forward; on top come the optimizer and the averages.
    assert 3 < training["flops"] / (sampling["flops"] / sampling["nfe"]) < 6
    assert not sampling["collectives"]


def test_a_plan_prints_what_it_writes(planned):
    assert f"| parameters | {planned[0]['parameters']:,} |" in planned[1]
    assert "16 fits (compiled: 16)" in planned[1]


def test_flops_are_those_of_a_dense_layer_and_a_convolution():
    device = jax.devices()[:1]

    def flops(function, *shapes):
        lowered = jax.jit(function).lower(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
        return ahead.measured(lowered, device).flops

    assert flops(lambda x, w: x @ w, (32, 64), (64, 128)) == 2 * 32 * 64 * 128

    def convolution(x, w):
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    assert flops(convolution, (4, 8, 8, 16), (3, 3, 16, 32)) == 2 * 4 * 64 * 9 * 16 * 32


def test_split_parameters_take_a_part_of_the_memory(tiny, planned):
    tiny.training.update({"parallel": "mesh", "fsdp": 4})
    found = ahead.training_step(experiment.create(tiny, READS), tiny.training, jax.devices(), 16)
    # Biases and norms of 8 channels are split, too; what 4 does not divide is whole.
    assert found.arguments < 0.35 * planned[0]["training"]["arguments"]
    assert {c.kind for c in found.collectives} >= {"all-gather", "reduce-scatter", "all-reduce"}


def test_the_time_of_a_program_on_a_chip_is_that_worked_out_by_hand(planned, tmp_path):
    # 1.97 TFLOP take 10 ms of a v5e, 4.095 GB of its main memory 5 ms, 30 million cycles 20 ms; a sum of
    # 160 MB over 4 chips has each send 240 MB, 1.2 ms of its links.
    program = ahead.Program(
        seconds=1.0, flops=1.97e12, main=4.095e9, cycles=30_060_000, optimum=None, arguments=100, outputs=90,
        temporaries=50, aliased=80, code=5, collectives=(Collective("all-reduce", 160_000_000, 4, 1),),
    )  # fmt: skip
    found = plan.figures_of(program, CHIPS["v5e"])
    assert found["memory"] == 100 + 90 - 80 + 50 + 5
    time = found["time"]
    assert time["roofline"] == time["arithmetic"] == pytest.approx(0.010)
    assert time["main_memory"] == pytest.approx(0.005)
    assert time["cycles"] == pytest.approx(0.020, rel=1e-3)
    assert time["exchange"] == pytest.approx(0.0012)
    assert time["utilization_bound"] == 1.0
    assert time["utilization"] == pytest.approx(10 / 21.2, rel=1e-3)

    sweep = plan.scaled(program, 8, (4, 16), 4, 1, CHIPS["v5e"])
    assert sweep[0]["efficiency"] == pytest.approx(20 / 21.2, rel=1e-3)
    assert sweep[1]["against_first"] == pytest.approx(21.2 / 21.5, rel=1e-3)
    whole = {**planned[0], "chip": dataclasses.asdict(CHIPS["v5e"]), "training": found, "sweep": sweep}
    tables = shown.tables(whole)
    assert (
        dict(tables["plan"])["step: XLA's estimate"]
        == "20 ms by 30.06 million cycles; MFU with the exchange 47%"
    )
    assert "MFU at most 100%" in dict(tables["plan"])["step: roofline"]
    assert tables["sweep"][2][-2:] == ("93.0%", "98.6%")
    figures.scaling_figure(tmp_path / "plan.png", sweep, "v5e:2x2")
    assert (tmp_path / "plan.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"plan.topology": "v9:2x2"}, ['plan.topology="v9:2x2"', "v5e"]),
        ({"plan.topology": "v5e:5x5"}, ["no such slice", "4x4"]),
        ({"plan.topology": "v5e:4x4", "training.batch_size": 24}, ["training.batch_size=24", "16 devices"]),
        (
            {"plan.topology": "v5e:2x2", "training.accumulation": 3},
            ["training.accumulation=3", "4 examples"],
        ),
        (
            {"plan.topology": "v5e:2x2", "training.parallel": "mesh", "training.fsdp": 3},
            ["training.fsdp=3", "4 devices"],
        ),
        ({"plan.compilations": 0}, ["plan.compilations=0"]),
        ({"plan.sweep": (4, 16)}, ["plan.sweep=(4, 16)", "v5e:2x2"]),
        ({"plan.topology": "v5e:2x2", "plan.sweep": (4, 512)}, ["512", "256"]),
        ({"plan.topology": "v5p:2x2x1", "plan.sweep": (4, 96)}, ["4, 8, 16, 32, and multiples of 64", "96"]),
    ],
)
def test_what_cannot_be_planned_is_refused_before_anything_is_compiled(tiny_config, fields, words):
    tiny_config.update_from_flattened_dict(fields)
    (line,) = check.problems("plan", tiny_config)
    assert all(word in line for word in words), line


def test_a_data_set_that_is_not_at_hand_is_what_is_common(tiny_config, capsys):
    tiny_config.data.source = "folder:/nowhere/at/all"
    with pytest.raises(Exception, match="nowhere"):
        plan.learn(tiny_config)
    tiny_config.data.update({"image_size": 64, "classes": 10})
    plan.learn(tiny_config)
    assert (tiny_config.data.channels, tiny_config.data.pixel_values) == (3, 256)
    assert tiny_config.data.class_frequencies == (0.1,) * 10
    assert "data.channels=3" in capsys.readouterr().err


def test_the_memory_at_hand_does_not_limit_a_plan_for_other_devices(tiny_config):
    # 2^20 samples of 1024 x 1024 and the states beside them are 16 TiB.
    tiny_config.update_from_flattened_dict(
        {"data.image_size": 1024, "data.channels": 1, "sampling.batch_size": 2**20}
    )
    assert any("GiB" in line for line in check.problems("plan", tiny_config))
    tiny_config.plan.topology = "v5e:2x2"
    assert check.problems("plan", tiny_config) == []


def test_a_mixture_needs_no_plan():
    from configs import gaussian_mixture

    with pytest.raises(ConfigError, match="nothing to plan"):
        check.require("plan", gaussian_mixture.get_config("ring"))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
@pytest.mark.parametrize("parallel", ["pmap", "mesh"])
def test_a_plan_for_tpus_that_are_not_there(tmp_path, parallel):
    flags = {"plan.topology": "v5e:2x2", "plan.sweep": (4, 256), "plan.compilations": 1}
    flags |= {"training.parallel": parallel, "sampling.num_samples": 4}
    assert main.main([*COMMAND, *as_flags(flags), f"--output={tmp_path}"]) == 0
    found = json.loads((tmp_path / "plan.json").read_text())
    training, size = found["training"], 4 * found["parameters"]
    assert 0.98 * size < training["collectives"]["all-reduce"]["bytes"] < 1.02 * size + 1_000
    assert training["cycles"] > 0 and 0 < training["time"]["utilization"] < 1
    assert training["time"]["roofline"] < training["time"]["cycles"]
    shares = found["share"] / found["sampling"]["share"]
    assert 3 < training["flops"] / shares / (found["sampling"]["flops"] / found["sampling"]["nfe"]) < 6
    four, many = found["sweep"]
    assert four["exchange"] < many["exchange"] and many["against_first"] < 1
    assert (tmp_path / "plan.png").stat().st_size > 0
