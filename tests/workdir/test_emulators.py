"""Whole runs on object stores, against emulators on this machine (requirements/emulators.txt)."""

import json
import subprocess
import time

import numpy as np
import pytest

from components import UserError
from tests.conftest import ROOT, command_line, environment
from tests.workdir.stores import BUCKET, amazon_emulator, google_emulator, image_files
from workdir import parts, storage
from workdir.lock import Lock
from workdir.records import Records, read_metrics
from workdir.verification import read_record

pytestmark = pytest.mark.slow

SETTINGS = {
    "training.steps": 40,
    "optim.warmup": 4,
    "checkpoint.every": 10,
    "checkpoint.keep": 2,
    "training.eval_every": 20,
    "training.sample_every": 20,
    "sampling.png": True,
}


@pytest.fixture(scope="module")
def google():
    with google_emulator():
        yield f"gs://{BUCKET}"


@pytest.fixture(scope="module")
def amazon():
    with amazon_emulator():
        yield f"s3://{BUCKET}"


def _run(mode, *arguments, fields=None, check=True):
    """A command of a mode on a run's own config; its lines but for those of libraries without credentials."""
    flags = [f"--config.{name}={value}" for name, value in (fields or {}).items()]
    words = [*command_line(mode, "x")[:2], f"--mode={mode}", *arguments, *flags]
    done = subprocess.run(
        words, env=environment(1), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert not check or done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "google_auth_provider" not in line]
    return done.returncode, done.stdout, lines


def _train(workdir, fields=None, check=True):
    words = command_line("train", workdir, {**SETTINGS, **(fields or {})})
    return _run("train", *[word for word in words[2:] if not word.startswith("--mode")], check=check)


def _losses(workdir):
    return [(row["step"], row["loss"]) for row in read_metrics(workdir) if "loss" in row]


def _checksums(workdir, step):
    return read_record(storage.path(workdir) / "checkpoints" / str(step))["checksums"]


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    """A run on a disk that nothing has disturbed."""
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    _train(workdir)
    return workdir


@pytest.fixture(scope="module")
def on_store(google, on_disk):
    """The same run on a store, killed once its second checkpoint was complete, and resumed."""
    workdir = f"{google}/runs/digits"
    words = command_line("train", workdir, SETTINGS)
    process = subprocess.Popen(words, env=environment(1), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    committed = storage.path(workdir) / "checkpoints" / "20" / "commit_success.txt"
    until = time.monotonic() + 200
    while not committed.exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert committed.exists()
    _, _, lines = _train(workdir)
    assert any("resuming at step" in line for line in lines)
    return workdir


def test_a_run_that_was_killed_on_a_store_ends_as_one_on_a_disk(on_disk, on_store):
    assert _checksums(on_store, 40) == _checksums(on_disk, 40)
    assert _losses(on_store) == _losses(on_disk)
    assert len(parts.numbered(storage.path(on_store), "metrics.jsonl")) >= 1
    kept = sorted(path.name for path in (storage.path(on_store) / "checkpoints").iterdir())
    assert kept == ["30", "40"]
    names = {path.name for path in storage.path(on_store).iterdir()}
    assert {"config.json", "loss.png", "samples_0000040.png"} <= names
    assert "train.lock" not in names


def test_samples_and_figures_of_a_store_are_those_of_a_disk(on_disk, on_store, tmp_path):
    measured = ("loss", "two_sample")
    for workdir in (on_disk, on_store):
        _run("sample", f"--workdir={workdir}")
        _run("eval", f"--workdir={workdir}", fields={"eval.evaluators": measured})
    samples, figures = [], []
    for workdir in map(storage.path, (on_disk, on_store)):
        with storage.opened(workdir / "samples.npz") as file:
            samples.append(np.load(file)["images"])
        found = json.loads(storage.read_text(workdir / "metrics.json"))
        figures.append({name: found[name] for name in measured})
        assert len(list((workdir / "samples").iterdir())) == 16
        assert not list(workdir.glob("*.parts-*"))
    np.testing.assert_array_equal(*samples)
    assert figures[0] == figures[1]
    # What was measured is kept on the store, and what is read there is written elsewhere.
    _run("sample", f"--workdir={on_store}", f"--output={tmp_path}")
    assert (tmp_path / "samples.npz").exists()


@pytest.mark.parametrize(
    ("mode", "written", "fields"),
    [
        ("encode", "encoding.png", {"encoding.num_images": 2, "encoding.tolerance": 1e-2}),
        ("variance", "variance.npz", {"variance.levels": 2, "variance.examples": 16}),
        ("optimal_grid", "optimal_grid.npz", {"optimal_grid.levels": 3, "optimal_grid.examples": 16}),
        ("export", "export/averages.safetensors", {}),
    ],
)
def test_other_modes_read_and_write_a_store(on_store, mode, written, fields):
    _run(mode, f"--workdir={on_store}", fields=fields)
    assert (storage.path(on_store) / written).exists()


def test_measured_files_are_read_of_a_store(on_store, tmp_path):
    fields = {
        "sampling.variance": "analytic",
        "sampling.predictor": "ancestral",
        "sampling.variance.file": f"{on_store}/variance.npz",
    }
    _run("sample", f"--workdir={on_store}", f"--output={tmp_path}", fields=fields)
    assert (tmp_path / "samples.npz").exists()


def test_a_report_shows_the_runs_of_a_store(google, on_store, on_disk, tmp_path):
    _run("report", f"--runs={google}/runs", f"--output={tmp_path}")
    page = (tmp_path / "report.html").read_text()
    assert "digits" in page and "trained to step 40" in page and "data:image/png" in page
    _, out, _ = _run("diff", f"--runs={on_disk},{on_store}")
    assert "trained to step 40" in out and "training.steps" not in out


def test_a_damaged_checkpoint_of_a_store_is_named_and_set_aside(on_store):
    newest = storage.path(on_store) / "checkpoints" / "40" / "params"
    arrays = max((newest / "ocdbt.process_0" / "d").iterdir(), key=lambda path: path.stat().length)
    content = bytearray(storage.read_bytes(arrays))
    content[len(content) // 2] ^= 1
    storage.write_bytes(arrays, bytes(content))
    code, said, _ = _run("verify", f"--workdir={on_store}", check=False)
    assert code == 1 and "checkpoint 40, params" in said and "a restart takes checkpoint 30" in said
    _, _, lines = _train(on_store)
    assert any(f"moved checkpoint 40 to {on_store}/damaged-checkpoint-40" in line for line in lines)
    _, said, _ = _run("verify", f"--workdir={on_store}")
    assert "checkpoint 40: good" in said and "damaged-checkpoint-40: set aside" in said


def test_a_save_that_did_not_end_is_no_checkpoint(on_store):
    left = storage.path(on_store) / "checkpoints" / "50"
    storage.write_bytes(left / "params" / "d" / "x", b"x")
    _, said, _ = _run("verify", f"--workdir={on_store}")
    assert "checkpoints/50: a save that did not end" in said and "a restart takes checkpoint 40" in said
    _, _, lines = _train(on_store, {"training.steps": 50})
    assert any("resuming at step 40" in line for line in lines)
    _, said, _ = _run("verify", f"--workdir={on_store}")
    assert "checkpoint 50: good" in said


def test_two_trainers_are_refused_and_a_lock_is_taken_over(google):
    workdir = f"{google}/runs/locked"
    with Lock(workdir, renewal=0.1, silence=1.0) as lock:
        code, _, lines = _train(workdir, check=False)
        assert code == 1 and len(lines) == 1 and f"{workdir} is being trained by process" in lines[-1]
        lock.require()
    assert not (storage.path(workdir) / "train.lock").exists()


@pytest.mark.parametrize("store", ["google", "amazon"])
def test_of_two_writers_a_store_refuses_one(store, request):
    place = storage.path(f"{request.getfixturevalue(store)}/lock")
    assert storage.read_version(place) == (None, None)
    first = storage.write_version(place, b"1", None)
    assert first is not None and storage.write_version(place, b"2", None) is None
    assert storage.read_version(place) == (b"1", first)
    second = storage.write_version(place, b"3", first)
    assert second is not None and storage.write_version(place, b"4", first) is None
    assert storage.read_bytes(place) == b"3"
    storage.remove_version(place, second)
    assert storage.read_version(place) == (None, None)
    assert storage.write_version(place, b"5", second) is None


@pytest.mark.parametrize("store", ["google", "amazon"])
def test_records_lock_and_refusals_of_a_store(store, request):
    workdir = f"{request.getfixturevalue(store)}/runs/records"
    records = Records(workdir, 0)
    for step in range(1, 4):
        records.scalars(step, {"loss": 1.0 / step})
    records.close()
    again = Records(workdir, 2)
    again.close()
    assert _losses(workdir) == [(1, 1.0), (2, 0.5)]
    with Lock(workdir, renewal=0.1) as lock:
        time.sleep(0.3)
        lock.require()
        with pytest.raises(UserError, match="is being trained by process"), Lock(workdir):
            pass


@pytest.mark.parametrize("store", ["google", "amazon"])
def test_data_of_a_store_is_that_of_a_disk(store, request, tmp_path):
    address = f"{request.getfixturevalue(store)}/data"
    for kind, file in image_files(tmp_path).items():
        place = storage.path(f"{address}/{file.name}")
        storage.upload(file, place)
        said = []
        for path in (file, place):
            fields = {"data.source": f"{kind}:{path}", "data.channels": "None"}
            _, out, _ = _run("inspect", "--config=configs/digits.py", fields=fields)
            said.append(out.replace(str(path), ""))
        assert said[0] == said[1] and "8x8" in said[0]


def test_a_run_on_a_disk_writes_its_results_to_amazon(amazon, on_disk):
    _run("sample", f"--workdir={on_disk}", f"--output={amazon}/results")
    written = {path.name for path in storage.path(f"{amazon}/results").iterdir()}
    assert {"samples.npz", "samples.png", "trajectory.npz"} <= written
    code, _, lines = _train(f"{amazon}/runs/x", check=False)
    assert code == 2 and len(lines) == 1 and "Orbax has checkpoints on disks and on gs://" in lines[0]
    code, _, lines = _run("sample", f"--workdir={amazon}/runs/x", check=False)
    assert code == 2 and len(lines) == 1


def test_a_bucket_that_is_not_there_is_told_in_one_line():
    with google_emulator():
        code, _, lines = _train("gs://no-such-bucket/x", check=False)
    assert code == 1 and len(lines) == 1
    assert "--workdir=gs://no-such-bucket/x cannot be written to: there is no such bucket" in lines[-1]
