"""Two commands at once in one workdir, each a process of its own: none disturbs the other."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

import experiment
from tests.conftest import ROOT, as_flags, command_line, environment

SMALL = {
    "sampling.num_samples": 60,
    "sampling.batch_size": 20,
    "sampling.steps": 5,
    "eval.batch_size": 16,
    "eval.max_images": 48,
    "eval.two_sample.num_samples": 16,
    "eval.bound.images": 16,
    "eval.bound.levels": 8,
    "eval.loss_levels": 2,
}


def _start(command):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment(1), cwd=ROOT, **pipes)


def _ring(mode, workdir, **fields):
    config = ["--config=configs/gaussian_mixture.py:ring", f"--workdir={workdir}", f"--mode={mode}"]
    changed = {name.replace("__", "."): value for name, value in fields.items()}
    return [sys.executable, "main.py", *config, *as_flags({**SMALL, **changed})]


def _ended(processes):
    """Standard error of commands that all have succeeded."""
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said


@pytest.mark.slow
def test_two_samplers_of_other_settings_each_leave_whole_results(tmp_path):
    alone = []
    for seed in (0, 1):
        _ended([_start(_ring("sample", tmp_path / str(seed), seed=seed))])
        with np.load(tmp_path / str(seed) / "samples.npz") as found:
            alone.append(found["x"])
    _ended([_start(_ring("sample", tmp_path / "both", seed=seed)) for seed in (0, 1)])
    with np.load(tmp_path / "both" / "samples.npz") as found:
        assert any(np.array_equal(found["x"], x) for x in alone)
    names = {path.name for path in (tmp_path / "both").iterdir()}
    assert names == {"samples.npz", "samples.png", "trajectory.npz", "trajectory.png"}


@pytest.mark.slow
def test_an_evaluation_started_twice_ends_twice(tmp_path):
    said = _ended([_start(_ring("eval", tmp_path)) for _ in range(2)])
    assert not any("cannot be read" in error for error in said)
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert np.isfinite(figures["bits_per_dim"]["flow"]["value"]["value"])
    with np.load(tmp_path / "log_prob.npz") as kept:
        assert sorted(kept["rows"].tolist()) == list(range(48))
    assert not list(tmp_path.glob("*.parts-*")) and not list(tmp_path.glob(".*"))


@pytest.fixture
def fast_trainer(tmp_path):
    """The workdir of a run that saves after every step and keeps one checkpoint."""
    often = {"training.steps": 1_000_000, "checkpoint.every": 1, "checkpoint.keep": 1}
    process = _start(command_line("train", tmp_path, often))
    deadline = time.monotonic() + 200
    while not any(path.name.isdigit() for path in (tmp_path / "checkpoints").glob("*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    yield tmp_path
    assert process.poll() is None
    process.kill()
    process.communicate(timeout=60)


def test_what_reads_a_run_beside_its_trainer_never_finds_it_damaged(fast_trainer, capfd):
    steps = [experiment.load(fast_trainer).checkpoint["step"] for _ in range(10)]
    assert steps == sorted(steps) and steps[-1] > steps[0]
    (said,) = _ended([_start([sys.executable, "main.py", f"--workdir={fast_trainer}", "--mode=sample"])])
    assert "damaged" not in said and "damaged" not in capfd.readouterr().err
