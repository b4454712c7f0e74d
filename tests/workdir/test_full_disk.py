"""A disk that takes no more: one line, and every result of an earlier run is still there, or a new one whole.

A limit on the size of files stands for the full disk: it makes a write fail as a quota does.
"""

import contextlib
import errno
import io
import json
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import main
from components import FileKind, Numbers, UserError
from tests.conftest import ROOT, as_flags, command_line, environment
from workdir import records
from workdir.files import read_measured, write_measured
from workdir.lock import Lock
from workdir.records import Progress, Records, say
from workdir.results import Results

FIELDS = {"sampling.num_samples": 600, "sampling.batch_size": 200, "sampling.steps": 5}


@contextlib.contextmanager
def _largest_file(size):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def _command(workdir, seed):
    config = "--config=configs/gaussian_mixture.py:ring"
    return ["main.py", config, f"--workdir={workdir}", "--mode=sample", *as_flags({**FIELDS, "seed": seed})]


def _require_whole(path):
    if path.suffix == ".npz":
        with np.load(path) as found:
            assert all(len(found[name]) for name in found if found[name].shape)
    else:
        with Image.open(path) as picture:
            picture.load()


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The folder of a run that has been sampled; the sizes of its results, by name."""
    workdir = tmp_path_factory.mktemp("earlier")
    assert main.main(_command(workdir, seed=0)) == 0
    return workdir, {path.name: path.stat().st_size for path in workdir.iterdir()}


@pytest.mark.parametrize("too_large", ["samples.npz", "samples.png", "trajectory.npz", "trajectory.png"])
def test_no_result_of_an_earlier_run_is_lost(earlier, too_large, capfd):
    workdir, sizes = earlier
    with _largest_file(int(0.8 * sizes[too_large])):
        assert main.main(_command(workdir, seed=1)) == 1
    error = capfd.readouterr().err
    assert error.count("error: ") == 1
    assert error.splitlines()[-1].startswith("error: File too large: ")
    assert "it goes on where it stopped" in error
    assert {path.name for path in workdir.glob("*.*g")} | {
        path.name for path in workdir.glob("*.npz")
    } == set(sizes)
    for name in sizes:
        _require_whole(workdir / name)
    assert not list(workdir.glob(".*"))


def test_a_command_on_a_full_disk_ends_in_one_line(tmp_path):
    # Neither can the compiler keep its programs there.
    with _largest_file(1000):
        done = subprocess.run(
            [sys.executable, *_command(tmp_path, seed=0)],
            env={**environment(1), "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and lines[-1].startswith("error: File too large: ")
    progress = ("drawing ", "sample: ", "note: on Gaussian data")
    assert [line for line in lines if not line.startswith(progress)] == lines[-1:]


def test_whatever_is_written_is_old_or_new(tmp_path):
    kind, results = FileKind({"x": Numbers(("n",))}, "variance", {"n": (1, 10_000)}), Results(tmp_path)
    small, large = np.arange(10), np.random.default_rng(0).standard_normal(5000)

    def write(x):
        yield lambda: results.json("a.json", {"x": x})
        yield lambda: results.arrays("b.npz", x=x)
        yield lambda: results.write("c.npz", write_measured, kind, {"x": x}, {"sde": "VP()"})

    for action in write(small):
        action()
    with _largest_file(2000):
        for action in write(large):
            with pytest.raises(OSError):
                action()
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": small.tolist()}
    np.testing.assert_array_equal(np.load(tmp_path / "b.npz")["x"], small)
    np.testing.assert_array_equal(read_measured(tmp_path / "c.npz", kind, "file").arrays["x"], small)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.npz", "c.npz"]


def test_a_lock_that_could_not_be_written_keeps_nobody_waiting(tmp_path):
    with _largest_file(10), pytest.raises(OSError), Lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
    with Lock(tmp_path):
        with pytest.raises(UserError, match="is being trained"), Lock(tmp_path):
            pass


def test_the_records_of_a_full_disk_are_written_once_it_takes_them(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(records, "say", said.append)
    found = Records(tmp_path, start=0)
    found.scalars(1, {"loss": 0.5})
    path = tmp_path / "metrics.jsonl"
    before = path.read_text()
    with _largest_file(len(before) + 5):
        found.scalars(2, {"loss": 0.25})
        found.scalars(3, {"loss": 0.125})
        # Half a line is worse than none.
        assert path.read_text() == before
    assert sum("metrics.jsonl cannot be written (File too large)" in line for line in said) == 1
    assert sum("TensorBoard" in line for line in said) == 1
    found.scalars(4, {"loss": 0.0625})
    with _largest_file(path.stat().st_size + 5):
        found.scalars(5, {"loss": 0.0})
        # What no later record can take with it is no warning.
        with pytest.raises(OSError):
            found.close()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4] and rows[1]["loss"] == 0.25


def test_a_run_that_fails_writes_the_rows_that_waited_or_says_how_many_are_lost(tmp_path, monkeypatch):
    said, path = [], tmp_path / "metrics.jsonl"
    monkeypatch.setattr(records, "say", said.append)
    for step, room in ((2, 10_000), (4, 0)):
        with contextlib.ExitStack() as full:
            with pytest.raises(ValueError, match="the fault"), Records(tmp_path, start=step - 1) as found:
                with _largest_file(path.stat().st_size):
                    for number in (step, step + 1):
                        found.scalars(number, {"loss": 0.5})
                full.enter_context(_largest_file(path.stat().st_size + room))
                raise ValueError("the fault")
        assert ("2 rows of metrics.jsonl could not be written, and are lost" in said[-1]) == (room == 0)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [2, 3]


def test_a_message_that_the_disk_does_not_take_ends_nothing(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    say("a warning")
    Progress(1, "step", "train").update(1)


def test_a_training_run_goes_on_beside_a_full_disk_but_ends_by_saving(tmp_path, monkeypatch, capfd):
    usage, looks = shutil.disk_usage(tmp_path), iter([True, False, True, False, False])
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: usage._replace(free=1 << 40 if next(looks) else 1000)
    )
    fields = {"training.steps": 4, "checkpoint.every": 1, "checkpoint.keep": 9}
    assert main.main(command_line("train", tmp_path, fields)[1:]) == 1
    lines = capfd.readouterr().err.splitlines()
    told = (line for line in lines if line.startswith(("warning: The disk of ", "error: ")))
    warning, of_last, error = told
    assert "the checkpoint of step 2 needs" in warning and "step 1 is complete. The run goes on" in warning
    # What is not saved at the end is lost, and no later save takes its place.
    assert "the checkpoint of step 4 needs" in of_last and of_last.endswith("is tried once more.")
    assert error.startswith("error: The disk of ") and "the checkpoint of step 4 needs" in error
    assert "The checkpoint of step 3 is complete: free some space and run the same command" in error
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["1", "3"]
