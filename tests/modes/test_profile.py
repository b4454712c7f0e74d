"""Where the time of a training step goes."""

import json

import jax
import jax.numpy as jnp
import pytest

import experiment
import main
from experiment import ahead
from modes import MODES, plan
from parallel import chips, program_text
from tests.conftest import TINY, as_flags

COMMAND = ["main.py", "--mode=profile", "--config=configs/digits.py", *as_flags(TINY)]


@pytest.fixture(scope="module")
def profiled(tmp_path_factory):
    """The folder of results of a profile of two steps."""
    folder = tmp_path_factory.mktemp("profile")
    assert main.main([*COMMAND, "--config.profile.steps=2", f"--output={folder}"]) == 0
    return folder


def test_the_time_of_a_step_is_split_by_what_it_does(profiled):
    found = json.loads((profiled / "profile.json").read_text())
    assert found["steps"] == 2 and found["batch_size"] == 16 and found["mfu"] is None
    assert found["seconds_step"] > 0 and found["seconds_data"] > 0
    by_kind = {}
    for row in found["instructions"]:
        by_kind.setdefault(row["kind"], []).append(row)
        # As often a step on each of eight devices, in loops more than once.
        assert row["seconds"] > 0 and row["calls"] == round(row["calls"])
    assert set(by_kind) <= set(program_text.KINDS) and len(by_kind["convolutions"]) > 10
    assert all(row["calls"] == 1 for row in by_kind["convolutions"])
    assert any("residualblock_0/conv_0" in row["place"] for row in by_kind["convolutions"])
    longest = [row["seconds"] for row in found["instructions"]]
    assert longest == sorted(longest, reverse=True)


def test_the_trace_and_tables_stay(profiled):
    assert list((profiled / "profile").rglob("*.xplane.pb"))
    text = (profiled / "profile.md").read_text()
    assert "| what | ms a step | of all instructions |" in text and "| convolutions |" in text


def test_its_flops_are_those_of_the_plan(profiled, tiny_config):
    plan.learn(tiny_config)
    planned = ahead.training_step(
        experiment.create(tiny_config, MODES["plan"].reads), tiny_config.training, jax.devices(), 16
    )
    found = json.loads((profiled / "profile.json").read_text())
    assert found["gflop_a_device"] == pytest.approx(planned.flops / 1e9)


def test_a_run_on_a_known_chip_records_its_utilization(tmp_path, monkeypatch):
    # What is only lowered tells its FLOPs on CPUs alone, where no chip is known.
    def refused(lowered):
        raise NotImplementedError("Lowered.cost_analysis")

    monkeypatch.setattr(jax.stages.Lowered, "cost_analysis", refused)
    chip = chips.Chip("cpu", flops=1e9, memory=1e9, bandwidth=1e9, interconnect=1e9, source="a test")
    monkeypatch.setattr(chips, "of_device", lambda device: chip)
    flags = [f"--workdir={tmp_path}", *as_flags(TINY | {"training.steps": 2})]
    assert main.main(["main.py", "--config=configs/digits.py", *flags]) == 0
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    row = next(row for row in rows if "mfu" in row)
    assert row["mfu"] == pytest.approx(row["tflops_a_device"] * 1e12 / chip.flops)
    seconds = sum(row[f"seconds_{name}"] for name in ("step", "data", "host"))
    assert row["images_per_second"] == pytest.approx(16 / seconds)
    # Two images a device. A convolution of 3x3 from 8 to 8 channels on 8x8 takes 73,728 FLOPs an image, three
    # times that with its gradients; residual blocks have two, and there are three of them.
    assert row["tflops_a_device"] * 1e12 * seconds > 2 * 3 * 6 * 73_728


def test_flops_are_those_of_one_device():
    a, b = jnp.ones((8, 16, 32)), jnp.ones((32, 64))
    program = jax.pmap(jnp.matmul, in_axes=(0, None)).lower(a, b).compile()
    assert ahead.flops(program, jax.devices()[0]) == 2 * 16 * 32 * 64


def test_a_program_for_gpus_is_counted_by_xla():
    # Its convolutions are calls of a library, of which the compiled text tells nothing.
    class Compiled:
        def cost_analysis(self):
            return {"flops": 7.0}

    class Gpu:
        platform = "gpu"

    assert ahead.flops(Compiled(), Gpu()) == 7.0


def test_no_step_is_refused(capsys):
    assert main.main([*COMMAND, "--config.profile.steps=0"]) == 2
    assert "profile.steps=0 must be positive" in capsys.readouterr().err
