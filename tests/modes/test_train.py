"""Whole runs from the command line: stopped, killed, resumed, on other devices, going wrong."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, command_line, environment
from tests.modes.runs import final_checksums, losses, newest

LONG = {"training.steps": 100_000, "checkpoint.every": 5}


def _start(workdir, fields):
    return subprocess.Popen(
        command_line("train", workdir, fields),
        env=environment(1),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for_step(process, workdir, step, seconds=240):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if (workdir / "metrics.jsonl").exists() and max(losses(workdir), default=0) >= step:
            return
        time.sleep(0.02)
    raise AssertionError(f"never got to step {step}: {process.communicate(timeout=10)[1]}")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Twenty steps on one device without a stop."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    done = subprocess.run(
        command_line("train", workdir, {"training.steps": 20}),
        env=environment(1),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_stopped_run_resumes_bit_for_bit(tmp_path, command, uninterrupted, number):
    process = _start(tmp_path, {"training.steps": 20, "training.log_every": 1} | _slow())
    _wait_for_step(process, tmp_path, 3)
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert f"stopped by {number.name}" in error and "resumes: python main.py --config=" in error
    stopped_at = max(losses(tmp_path))
    assert 3 <= stopped_at < 20
    again = command("train", tmp_path, {"training.steps": 20})
    assert f"resuming at step {stopped_at}" in again.stderr
    assert losses(tmp_path) == losses(uninterrupted)
    assert final_checksums(tmp_path) == final_checksums(uninterrupted)


def _slow():
    """A preview after every step, so that a signal finds the run at work."""
    return {"training.sample_every": 1, "sampling.steps": 30}


def test_a_killed_run_resumes_from_the_last_complete_checkpoint(tmp_path, command, uninterrupted):
    process = _start(tmp_path, {"training.steps": 20, "checkpoint.every": 4} | _slow())
    _wait_for_step(process, tmp_path, 10)
    process.kill()
    process.communicate(timeout=60)
    assert (tmp_path / "train.lock").exists()
    again = command("train", tmp_path, {"training.steps": 20})
    assert "resuming at step" in again.stderr and "sign of life" not in again.stderr
    assert not (tmp_path / "train.lock").exists()
    assert losses(tmp_path) == losses(uninterrupted)
    assert final_checksums(tmp_path) == final_checksums(uninterrupted)


def test_a_second_trainer_is_refused_and_a_run_that_lost_its_lock_stops_without_saving(tmp_path, here):
    process = _start(tmp_path, {**LONG, "checkpoint.every": 200, "training.log_every": 1})
    _wait_for_step(process, tmp_path, 5)
    before = (tmp_path / "metrics.jsonl").read_text()
    error = here("train", tmp_path, LONG, code=1).err
    assert "Traceback" not in error
    assert f"is being trained by process {process.pid} of host" in error
    assert (tmp_path / "metrics.jsonl").read_text().startswith(before)

    (tmp_path / "train.lock").write_text(json.dumps({"host": "elsewhere", "pid": 7, "token": "another"}))
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1 and "Traceback" not in error
    assert "was taken over by process 7 of host elsewhere" in error
    # It stopped where it would have saved.
    stopped_at = max(losses(tmp_path))
    assert stopped_at % 200 == 0 and not (tmp_path / "checkpoints" / str(stopped_at)).exists()


@pytest.mark.slow
def test_25_kills_at_random_moments_change_nothing(tmp_path, command):
    # Every step is saved, so that most kills fall into a save, and every fifth into the start.
    rng, killed = np.random.default_rng(0), tmp_path / "killed"
    fields = {**LONG, "checkpoint.every": 1, "optim.schedule": "constant"}
    for number in range(25):
        saved = newest(killed)
        process = _start(killed, fields)
        if number % 5:
            _wait_for_step(process, killed, saved + 2)
        time.sleep(rng.uniform(0, 1 if number % 5 else 5))
        process.kill()
        process.communicate(timeout=60)
        # What was complete stays, and all but the last two steps are.
        reached = max(losses(killed), default=0) if (killed / "metrics.jsonl").exists() else 0
        assert newest(killed) >= max(saved, reached - 2)
    steps = newest(killed) + 5
    done = command("train", killed, {**fields, "training.steps": steps})
    assert "resuming at step" in done.stderr and "damaged" not in done.stderr
    command("train", tmp_path / "whole", {**fields, "checkpoint.every": steps, "training.steps": steps})
    assert losses(killed) == losses(tmp_path / "whole")
    assert final_checksums(killed) == final_checksums(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_moves_from_8_to_2_to_1_devices(tmp_path, command, uninterrupted):
    for devices, steps in ((8, 8), (2, 14), (1, 20)):
        command("train", tmp_path, {"training.steps": steps, "optim.schedule": "constant"}, devices)
    reference = tmp_path / "reference"
    command("train", reference, {"training.steps": 20, "optim.schedule": "constant"})
    found, expected = losses(tmp_path), losses(reference)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-4)


def test_a_changed_network_or_sde_is_refused_and_a_frequency_is_not(uninterrupted, here):
    error = here("train", uninterrupted, {"training.steps": 20, "model.width": 16}, code=2).err
    assert "model.width: 8 -> 16" in error
    error = here("train", uninterrupted, {"training.steps": 20, "sde.name": "ve"}, code=2).err
    assert "sde.name: vp -> ve" in error
    said = here("train", uninterrupted, {"training.steps": 20, "training.log_every": 2}).err
    assert "already trained" in said


def test_nan_stops_with_the_step_and_keeps_the_last_good_checkpoint(tmp_path, here):
    fields = {"training.steps": 40, "checkpoint.every": 5, "optim.grad_clip": 0.0, "optim.warmup": 20}
    here("train", tmp_path, {**fields, "training.steps": 10, "optim.schedule": "constant"})
    broken = tmp_path / "broken"
    error = here("train", broken, {**fields, "optim.learning_rate": 1e30, "training.log_every": 20}, 1).err
    assert "error: Step " in error and "optim.learning_rate" in error
    assert "Traceback" not in error
    steps = [int(p.name) for p in (broken / "checkpoints").glob("[0-9]*")]
    failed = int(error.split("error: Step ")[1].split(":")[0])
    assert all(step < failed for step in steps)


@pytest.mark.slow
def test_a_run_with_evaluations_and_saves_grows_no_larger(tmp_path):
    often = {"checkpoint.every": 50, "training.eval_every": 50, "training.log_every": 10}
    process = _start(tmp_path, {**LONG, **often})

    def resident():
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    # By then all is compiled, and every thread has its share.
    _wait_for_step(process, tmp_path, 1000)
    before = resident()
    _wait_for_step(process, tmp_path, 3000)
    after = resident()
    process.kill()
    process.communicate(timeout=60)
    assert after < 1.03 * before


@pytest.mark.slow
def test_inner_steps_give_the_same_run(tmp_path, command, uninterrupted):
    fields = {"training.steps": 20, "training.jitted_steps": 5, "training.log_every": 5}
    command("train", tmp_path, fields)
    means = [np.mean([losses(uninterrupted)[s] for s in range(k - 4, k + 1)]) for k in (5, 10, 15, 20)]
    np.testing.assert_allclose(list(losses(tmp_path).values()), means, rtol=1e-3)


def test_sample_and_eval_write_their_files(uninterrupted, command, here):
    # No data set is needed to sample: the images' shape comes from the checkpoint.
    command("sample", uninterrupted, {"training.steps": 20, "sampling.png": True}, devices=2)
    first = np.load(uninterrupted / "samples.npz")
    assert first["images"].shape == (16, 8, 8, 1) and first["images"].max() <= 16
    # As programs that compute an FID read them: RGB in the full range, in the archive and as files.
    full = np.broadcast_to(np.round(first["images"] * (255 / 16)), (16, 8, 8, 3))
    assert first["pixel_values"] == 17 and first["arr_0"].dtype == np.uint8
    np.testing.assert_array_equal(first["arr_0"], full)
    files = sorted((uninterrupted / "samples").iterdir())
    np.testing.assert_array_equal([np.asarray(Image.open(file).convert("RGB")) for file in files], full)
    assert (first["nfe"] == 2 * 6).all()
    done = command("sample", uninterrupted, {"training.steps": 20, "sampling.batch_size": 4}, devices=1)
    assert "are of earlier samples" in done.stderr
    second = np.load(uninterrupted / "samples.npz")["images"]
    assert (first["images"] == second).mean() > 0.99
    said = here("eval", uninterrupted, {"training.steps": 20}).out
    figures = json.loads((uninterrupted / "metrics.json").read_text())
    for evaluator in ("loss", "two_sample", "bits_per_dim"):
        assert {"model", "fitted_gaussian"} <= set(figures[evaluator])
    # A Gaussian fitted to these scans is known to reach 2.95 bits/dim on the whole held-out split.
    assert abs(figures["bits_per_dim"]["fitted_gaussian"]["value"] - 2.95) < 0.3
    assert "fitted gaussian" in said
    for name in ("samples.png", "trajectory.png", "loss.png", "evaluation.png", "config.json"):
        assert (uninterrupted / name).stat().st_size > 500, name
    assert list((uninterrupted / "tensorboard").iterdir())


# A discrete process, a learned variance and times by loss history: what holds state or a second head.
HYBRID = {
    "sde.name": "iddpm",
    "sde.noise_levels": 20,
    "loss.noise_levels": 20,
    "loss.time_grid": "discrete",
    "loss.time_sampling": "loss_history",
    "loss.variance_weight": 0.001,
    "denoiser.variance_head": "fraction",
    "denoiser.parametrization": "v",
    "denoiser.noise_input": "index",
    "sampling.predictor": "ancestral",
    "sampling.corrector": "none",
    "checkpoint.every": 10,
}


@pytest.mark.slow
def test_the_hybrid_loss_resumes_bit_for_bit_and_is_evaluated_whole(tmp_path, command):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    command("train", whole, {**HYBRID, "training.steps": 20})
    command("train", parts, {**HYBRID, "training.steps": 10})
    command("train", parts, {**HYBRID, "training.steps": 20})
    assert final_checksums(parts) == final_checksums(whole)

    fields = {
        **HYBRID,
        "training.steps": 20,
        "eval.bits_per_dim.dequantizations": 2,
        "eval.bits_per_dim.probes": 2,
        "eval.evaluators": "loss,two_sample,bits_per_dim,discrete_bound,continuous_bound,diagnostics",
        "eval.bound.levels": 20,
        "eval.bound.variance": "learned",
        "eval.bound.images": 16,
        "eval.diagnostics.images": 16,
    }
    command("eval", whole, fields)
    found = json.loads((whole / "metrics.json").read_text())
    flow = found["bits_per_dim"]["model"]
    parts = flow["standard_error_parts"]
    assert set(parts) == {"image", "dequantization", "probe"} and None not in parts.values()
    assert flow["dequantizations"] == 2 and flow["t_min"] == 1 / 20
    np.testing.assert_allclose(sum(p**2 for p in parts.values()) ** 0.5, flow["standard_error"], rtol=0.3)
    for name in ("discrete_bound", "continuous_bound"):
        total = sum(part["value"] for part in found[name]["parts"].values())
        np.testing.assert_allclose(found[name]["value"], total, rtol=1e-5)
        assert found[name]["bounds"].startswith("from above")
    diagnostics = found["diagnostics"]
    assert len(diagnostics["log_snr"]) == len(diagnostics["asymmetry"]) == 3
    assert (whole / "diagnostics.png").stat().st_size > 1000
    command("encode", whole, {**fields, "encoding.num_images": 3})
    with np.load(whole / "encoding.npz") as codes:
        assert codes["codes"].shape == (3, 8, 8, 1) and codes["interpolated"].shape == (2, 9, 8, 8, 1)
