"""What is a path and what an address; what is written to a store whose objects cannot be appended to."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import data
import main
from components import ConfigError, UserError
from configs import base
from tests.conftest import ROOT, events, read_events
from tests.workdir.stores import image_files
from workdir import event_files, parts, storage
from workdir.files import prepare_workdir, write_json
from workdir.lock import Lock, refusals
from workdir.partial import Partial
from workdir.records import Records, read_metrics
from workdir.results import Results

RUN = "gs://bucket/runs/digits"


def test_a_path_of_this_machine_is_a_pathlib_path(tmp_path):
    for place in ("runs/digits", tmp_path, "s3:/no address", "a:b//c"):
        assert not storage.on_store(place)
        assert storage.path(place) == Path(place) and type(storage.path(place)) is type(Path(place))
    assert storage.named("~/x", "--workdir") == str(Path.home() / "x")


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("ftp://host/x", "is an address of no store that is known: these are gs:// and s3://"),
        ("gs://", "names no bucket: gs://BUCKET/PATH"),
        ("gs:///x", "names no bucket"),
    ],
)
def test_what_is_no_address_of_a_store_is_refused_by_field(place, reason):
    with pytest.raises(ConfigError, match=reason) as refused:
        storage.named(place, "--workdir")
    assert str(refused.value).startswith(f'--workdir="{place}"')


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("s3", "s3fs")])
def test_without_its_driver_an_address_is_refused_with_what_to_install(monkeypatch, scheme, package):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    install = f"python -m pip install -r {storage.STORES[scheme].requirements}"
    assert (ROOT / storage.STORES[scheme].requirements).exists()
    with pytest.raises(ConfigError, match=f"the package {package}, which is not installed: {install}"):
        storage.named(f"{scheme}://bucket/x", "data.source")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["--config=configs/digits.py", "--workdir=s3://b/x"],
            "none on s3://. Name a folder of this machine",
        ),
        (
            ["--mode=table", "--table=song2021/table3", "--runs=gs://b/x"],
            "--mode=table works in folders of this machine, and --runs=gs://b/x lies on an object store",
        ),
        (["--config=gs://b/x.py", "--workdir=x"], '--config="gs://b/x.py" is an address'),
        (
            ["--config=configs/digits.py", "--workdir=x", "--config.data.directory=gs://b/x"],
            'data.directory="gs://b/x" is an address',
        ),
        (
            ["--config=configs/digits.py", "--workdir=x", "--config.data.source=folder:gs://b/x"],
            'data.source="folder:gs://b/x": image folders are read of this machine alone',
        ),
    ],
)
def test_what_does_not_work_with_stores_is_refused_in_one_line(monkeypatch, capsys, arguments, reason):
    monkeypatch.setattr(storage, "_require_driver", lambda scheme, shown: None)
    assert main.main(["main.py", *arguments]) == 2
    told = capsys.readouterr().err
    assert reason in told and len(told.splitlines()) == 1


def test_one_module_says_which_addresses_there_are():
    files = [path for path in ROOT.rglob("*.py") if not {".venv", "tests"} & set(path.parts)]
    named = {path.relative_to(ROOT).as_posix() for path in files if re.search("(gs|s3)://", path.read_text())}
    assert named <= {"workdir/storage.py"}


def test_a_run_on_a_disk_imports_nothing_of_stores():
    code = (
        "import sys, main, modes.train; from workdir import storage; storage.path('x'); "
        "print([m for m in ('gcsfs', 's3fs', 'google.cloud.storage', 'botocore', 'workdir.versions') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _texts(folder, names):
    for name in names:
        (folder / name).write_text(name)


def test_files_are_uploaded_whole(memory_store):
    results = Results(RUN)
    assert memory_store.find("bucket") == []
    results.json("metrics.json", {"a": [1, 2]})
    results.arrays("samples.npz", x=np.arange(3))
    for names in (["0.txt", "1.txt"], ["1.txt"]):
        results.write_folder("samples", ".txt", _texts, names)
    assert json.loads(storage.read_text(f"{RUN}/metrics.json")) == {"a": [1, 2]}
    with storage.opened(f"{RUN}/samples.npz") as file:
        assert np.load(file)["x"].tolist() == [0, 1, 2]
    assert memory_store.find("bucket/runs/digits/samples") == ["bucket/runs/digits/samples/1.txt"]
    with pytest.raises(ZeroDivisionError):
        results.write("metrics.json", lambda path: 1 / 0)
    assert json.loads(storage.read_text(f"{RUN}/metrics.json")) == {"a": [1, 2]}
    results.remove_others("metrics.json", "old.npz")
    assert storage.path(f"{RUN}/metrics.json").exists()


def test_a_store_that_does_not_answer_is_told_in_one_line(memory_store, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("Bad Request: \nno such project")

    monkeypatch.setattr(type(memory_store), "pipe_file", refuse)
    reason = f"--workdir={RUN} cannot be written to: ValueError: Bad Request"
    with pytest.raises(UserError, match=reason) as told:
        prepare_workdir(RUN)
    assert len(str(told.value).splitlines()) == 1


def _opened(source):
    config = base.get_config().data
    config.source = source
    return [data.create(config, split) for split in ("train", "test")]


def test_data_of_a_store_is_that_of_a_disk(memory_store, tmp_path):
    for kind, file in image_files(tmp_path).items():
        storage.upload(file, f"gs://bucket/data/{file.name}")
        on_disk, on_store = _opened(f"{kind}:{file}"), _opened(f"{kind}:gs://bucket/data/{file.name}")
        for there, here in zip(on_store, on_disk, strict=True):
            np.testing.assert_array_equal(there.images[:], here.images[:])
            np.testing.assert_array_equal(there.labels, here.labels)
            assert there.identity() == here.identity()


@pytest.mark.parametrize("kind", ["npz", "zip"])
def test_data_that_is_not_there_is_named(memory_store, kind):
    place = "gs://bucket/none"
    with pytest.raises(UserError, match=f'data.source="{kind}:{place}": there is no such file'):
        _opened(f"{kind}:{place}")
    memory_store.pipe_file(place, b"no archive")
    with pytest.raises(UserError, match=f'data.source="{kind}:{place}" cannot be read: File is not a zip'):
        _opened(f"{kind}:{place}")


def _rows(steps):
    return [{"step": step, "loss": 1.0 / step} for step in steps]


def _record(records, steps):
    for row in _rows(steps):
        records.scalars(row["step"], {"loss": row["loss"]})


def test_records_are_numbered_parts_and_a_resumed_run_drops_what_came_after(memory_store, monkeypatch):
    monkeypatch.setattr(parts, "MOST_BYTES", 200)
    monkeypatch.setattr(parts, "SECONDS_BETWEEN_WRITES", 0.0)
    first = Records(RUN, 0)
    _record(first, range(1, 31))
    # Killed: not closed.
    written = len(parts.numbered(storage.path(RUN), "metrics.jsonl"))
    assert written > 3 and read_metrics(RUN) == _rows(range(1, 31))
    second = Records(RUN, 12)
    assert read_metrics(RUN) == _rows(range(1, 13))
    _record(second, range(13, 20))
    second.close()
    assert read_metrics(RUN) == _rows(range(1, 20))


def test_rows_are_written_every_few_seconds_and_before_a_checkpoint(memory_store):
    records = Records(RUN, 0)
    _record(records, range(1, 6))
    assert read_metrics(RUN) == _rows([1])
    records.flush()
    assert read_metrics(RUN) == _rows(range(1, 6))
    assert len(parts.numbered(storage.path(RUN), "metrics.jsonl")) == 1


def test_events_of_a_store_are_those_that_were_recorded(memory_store):
    records = Records(RUN, 4)
    _record(records, range(5, 40))
    records.image(39, "samples", np.zeros((2, 3, 3), np.uint8))
    folder = storage.path(RUN) / "tensorboard"
    assert len(events(folder)) < 38
    records.close()
    found = events(folder)
    scalars = {event.step: event.summary.value[0].simple_value for event in found if event.summary.value}
    assert sorted(scalars) == list(range(5, 40)) and scalars[8] == 0.125
    assert found[1].step == 5 and found[-1].summary.value[0].image.width == 3


def test_a_large_file_of_events_is_followed_by_another(memory_store, monkeypatch):
    monkeypatch.setattr(event_files, "SECONDS_BETWEEN_UPLOADS", 0.0)
    monkeypatch.setattr(event_files, "MOST_BYTES", 300)
    records = Records(RUN, 0)
    _record(records, range(1, 21))
    records.close()
    files = list((storage.path(RUN) / "tensorboard").iterdir())
    found = [event for file in files for event in read_events(file.read_bytes())]
    assert len(files) > 3
    assert sorted(event.step for event in found if event.summary.value) == list(range(1, 21))


def test_rows_that_a_store_does_not_take_are_kept_and_said_once(memory_store, monkeypatch, capfd):
    records, take = Records(RUN, 0), type(memory_store).pipe_file

    def refuse(*_, **__):
        raise RuntimeError("away")

    _record(records, [1])
    monkeypatch.setattr(type(memory_store), "pipe_file", refuse)
    _record(records, range(2, 5))
    records.flush()
    records.flush()
    assert capfd.readouterr().err.count("metrics.jsonl cannot be written (RuntimeError: away)") == 1
    monkeypatch.setattr(type(memory_store), "pipe_file", take)
    records.close()
    assert read_metrics(RUN) == _rows(range(1, 5))


def test_a_run_is_read_and_goes_on_wherever_it_was_copied(memory_store, tmp_path):
    on_disk = Records(tmp_path, 0)
    _record(on_disk, range(1, 4))
    on_disk.close()
    memory_store.pipe_file(f"{RUN}/metrics.jsonl", (tmp_path / "metrics.jsonl").read_bytes())
    on_store = Records(RUN, 2)
    _record(on_store, range(3, 6))
    on_store.close()
    assert read_metrics(RUN) == _rows(range(1, 6))
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in memory_store.glob("bucket/runs/digits/metrics*"):
        (copy / Path(file).name).write_bytes(memory_store.cat_file(file))
    assert read_metrics(copy) == _rows(range(1, 6))
    again = Records(copy, 4)
    _record(again, [5])
    again.close()
    assert read_metrics(copy) == _rows(range(1, 6)) and not list(copy.glob("metrics-*"))


def test_unfinished_work_is_taken_up_from_a_store(memory_store):
    def partial():
        return Partial(f"{RUN}/samples", {"seed": 0}, seconds=0.0)

    first = partial()
    first.add(np.array([0, 1]), {"x": np.array([0.0, 1.0])})
    second, computed = partial(), []

    def compute(rows):
        computed.extend(rows.tolist())
        return {"x": rows.astype(float)}

    second.fill(4, 2, compute, "sample", "sample", "were drawn")
    assert computed == [2, 3] and second.merged(4)["x"].tolist() == [0, 1, 2, 3]
    second.finish()
    assert memory_store.find("bucket") == []


def test_one_run_holds_the_lock_of_a_store(memory_store):
    quick = {"renewal": 0.05, "silence": 0.3}
    with Lock(RUN, **quick) as first:
        with pytest.raises(UserError, match=f"{RUN} is being trained by process"), Lock(RUN, **quick):
            pass
        assert next(refusals(RUN)).startswith(f"{RUN} is being trained")
        first.require()
        # Another takes it over, and stays: the renewing thread does not write over it.
        holder = {**json.loads(storage.read_text(f"{RUN}/train.lock")), "token": "another", "host": "far"}
        write_json(storage.path(f"{RUN}/train.lock"), holder)
        # As stores count, that is another version.
        with pytest.raises(UserError, match="was taken over by process .* of host far"):
            first.require()
    assert json.loads(storage.read_text(f"{RUN}/train.lock"))["host"] == "far"
