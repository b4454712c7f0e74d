"""Faults on purpose in the middle of a training run: what is said, what is kept, and that the run goes on."""

import itertools
import os
import signal
import time

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest

import main
from data.source import DataError, Source
from evaluation.held_out import HeldOutLoss
from losses import Objective
from tests.conftest import TINY, command_line
from tests.modes.runs import final_checksums, losses, newest
from training.step import TrainStep

FIELDS = {"training.steps": 20, "checkpoint.every": 5, "training.eval_every": 5, "optim.schedule": "constant"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The workdir of the run without a fault, on the eight devices of this process."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    assert main.main(command_line("train", workdir, FIELDS)[1:]) == 0
    return workdir


def _goes_on(here, workdir, undisturbed):
    """Runs the same command without the fault, to the end of a run that never met it."""
    said = here("train", workdir, FIELDS).err
    assert losses(workdir) == losses(undisturbed)
    assert final_checksums(workdir) == final_checksums(undisturbed)
    return said


# In the middle of what a signal comes: the method that does it, and which of its calls.
MOMENTS = {
    "compiling": (TrainStep, "one", 0),
    "reading data": (Source, "batch", 8),
    "evaluating": (HeldOutLoss, "__call__", 1),
    "saving": (ocp.CheckpointManager, "save", 1),
    "waiting for a save": (ocp.CheckpointManager, "wait_until_finished", 2),
}
# Of several of a kind some are slow tests: a run and its resumption take ten seconds.
AT_LENGTH = ("reading data", "waiting for a save")


@pytest.mark.parametrize(
    "moment",
    [pytest.param(name, marks=pytest.mark.slow) if name in AT_LENGTH else name for name in MOMENTS],
)
def test_a_signal_at_any_moment_costs_nothing(moment, tmp_path, here, undisturbed, monkeypatch):
    owner, name, number = MOMENTS[moment]
    original, calls = getattr(owner, name), itertools.count()

    def signalled(*args, **kwargs):
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **kwargs)

    with monkeypatch.context() as fault:
        fault.setattr(owner, name, signalled)
        said = here("train", tmp_path, FIELDS).err
    assert "stopped by SIGTERM at step" in said
    stopped_at = max(losses(tmp_path))
    assert newest(tmp_path) == stopped_at < 20
    assert f"resuming at step {stopped_at}" in _goes_on(here, tmp_path, undisturbed)


def test_a_gradient_of_one_device_that_is_not_finite_stops_all(tmp_path, here, undisturbed, monkeypatch):
    here("train", tmp_path, FIELDS | {"training.steps": 10})
    original = Objective.example_losses

    def broken(self, *args):
        found = original(self, *args)
        # The root of zero: its value is zero, its derivative is not finite.
        zero = jnp.where(jax.lax.axis_index("batch") == 5, found - jax.lax.stop_gradient(found), 1.0)
        return found + jnp.sqrt(zero) - jnp.sqrt(jax.lax.stop_gradient(zero))

    with monkeypatch.context() as fault:
        fault.setattr(Objective, "example_losses", broken)
        said = here("train", tmp_path, FIELDS, code=1).err
    assert "error: Step 11: loss=" in said and "gradient_norm=nan" in said and "Traceback" not in said
    assert newest(tmp_path) == 10
    _goes_on(here, tmp_path, undisturbed)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(
            OSError(116, "Stale file handle", "/data/a.jpg"),
            "Stale file handle: /data/a.jpg",
            marks=pytest.mark.slow,
        ),
        (DataError("photos/a.jpg cannot be decoded."), "photos/a.jpg cannot be decoded."),
    ],
)
def test_a_source_that_raises_ends_the_run_in_a_line(error, words, tmp_path, here, undisturbed, monkeypatch):
    original, calls = Source.batch, itertools.count()

    def failing(self, indices):
        if len(indices) == TINY["training.batch_size"] and next(calls) == 12:
            raise error
        return original(self, indices)

    with monkeypatch.context() as fault:
        fault.setattr(Source, "batch", failing)
        said = here("train", tmp_path, FIELDS, code=1).err
    assert words in said and "Traceback" not in said
    assert newest(tmp_path) == 10
    _goes_on(here, tmp_path, undisturbed)


@pytest.mark.parametrize(
    ("jump", "save", "warnings"),
    [
        (31_536_000, 4, 1),
        pytest.param(31_536_000, 2, 1, marks=pytest.mark.slow),
        pytest.param(-86_400, 2, 0, marks=pytest.mark.slow),
    ],
)
def test_a_clock_that_jumps_during_a_save_changes_nothing(
    jump, save, warnings, tmp_path, here, undisturbed, monkeypatch
):
    # By such a clock the save has taken a year, and Orbax gives it up.
    clock, original, calls = time.time, ocp.CheckpointManager.save, itertools.count(1)

    def jumping(*args, **kwargs):
        started = original(*args, **kwargs)
        if next(calls) == save:
            fault.setattr(time, "time", lambda: clock() + jump)
        return started

    with monkeypatch.context() as fault:
        fault.setattr(ocp.CheckpointManager, "save", jumping)
        said = here("train", tmp_path, FIELDS).err
    assert said.count("could not be written") == warnings and "Traceback" not in said
    assert newest(tmp_path) == 20
    assert losses(tmp_path) == losses(undisturbed)
    assert final_checksums(tmp_path) == final_checksums(undisturbed)
