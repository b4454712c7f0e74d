"""A disk that takes no more: one line, and every result of an earlier run is still there, or a new one whole.

A limit on the size of files stands for the full disk: it makes a write fail as a quota does.
"""

import contextlib
import json
import resource
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import main
from components import FileKind, Numbers, UserError
from tests.conftest import ROOT, as_flags, environment
from workdir.files import read_measured, write_measured
from workdir.lock import Lock
from workdir.records import Records
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


def test_the_records_fail_where_they_are_written_and_hold_what_they_held(tmp_path):
    records = Records(tmp_path, start=0)
    records.scalars(1, {"loss": 0.5})
    size = (tmp_path / "metrics.jsonl").stat().st_size
    with _largest_file(size + 5):
        with pytest.raises(OSError):
            records.scalars(2, {"loss": 0.25})
    again = Records(tmp_path, start=1)
    again.scalars(2, {"loss": 0.25})
    again.close()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
