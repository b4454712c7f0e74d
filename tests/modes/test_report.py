"""A folder of runs becomes a page, whatever lies in it."""

import json
import os

import numpy as np
import pytest
from PIL import Image

import main
from tests.reports.page import Page
from workdir.files import write_json

MEASURED = {
    "step": 20,
    "unit": "bits/dim",
    "log_snr": [3.0, 0.0, -3.0],
    "model": {
        "eps_error_by_level": [0.5, 0.2, 0.1],
        "bits_per_dim": {"value": 2.5, "standard_error": 0.1, "images": 60},
    },
    "left_out": {"precision": "one image is too few"},
    "provenance": {"git_revision": "0123abc", "device": "cpu", "devices": 1},
}


def _write(folder, config, steps=20, rows=(10, 20), measured=None):
    folder.mkdir(parents=True)
    config.training.steps = steps
    write_json(folder / "config.json", {"config": config.to_dict(), "provenance": {}})
    lines = [json.dumps({"step": step, "loss": 1 / step}) for step in rows]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "checkpoints" / str(rows[-1])).mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "samples.png")
    if measured:
        write_json(folder / "metrics.json", measured)


def _report(folder, *more):
    assert main.main(["main.py", "--mode=report", f"--runs={folder}", *more]) == 0
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.wrong == []
    return text, page


def test_runs_finished_stopped_and_damaged_stand_on_one_page(tmp_path, tiny_config, capfd):
    _write(tmp_path / "whole", tiny_config, measured=MEASURED)
    tiny_config.sde.name = "ve"
    _write(tmp_path / "group" / "stopped", tiny_config, steps=500)
    damaged = tmp_path / "damaged"
    _write(damaged, tiny_config, measured=MEASURED)
    for name in ("config.json", "metrics.json", "samples.png"):
        (damaged / name).write_bytes((damaged / name).read_bytes()[:40])
    (damaged / "metrics.jsonl").write_text('{"step": 5, "loss": 1.0}\n\0\n{"step": 20, "loss": 0.5}\n')
    (damaged / "samples.parts-0123").mkdir()
    text, page = _report(tmp_path)
    assert {"whole", "group/stopped", "damaged"} <= {named for _, named in page.all("a")}
    assert "stopped at step 20 of 500, checkpoint of step 20" in text and "trained to step 20" in text
    for told in (
        "config.json cannot",
        "metrics.json cannot",
        "samples.png cannot",
        "1 of its lines",
        "parts-0123",
    ):
        assert told in text, told
    assert "precision was left out: one image is too few" in text
    assert "2.50 ± 0.10" in text and "n 60" in text
    # Of two values the first stands for the common one, and the runs are in the order of their names.
    assert "<mark>vp</mark>" in text and "<mark>ve" not in text
    assert [a["alt"] for a, _ in page.all("img")] == ["samples of group/stopped", "samples of whole"]
    assert "note: damaged: metrics.json cannot be read" in capfd.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"config": 3, "model": [], "step": "x", "provenance": [], "left_out": 4}',
        b'{"config": {"sde": {"name": ["<b>"]}, "gone": 1}, "a": {"value": "x"}, "log_snr": [1, "2"]}',
        b'{"step": 1e999, "loss": 1'
        + b"0" * 400
        + b"}\n"
        + b'{"step": 1, "loss": 1e308}\n{"step": 2, "loss": -1e308}',
        b'{"value": 1e999, "standard_error": -3, "interval": [null], "n": {}, "log_snr": [NaN]}',
    ],
)
@pytest.mark.parametrize("name", ["config.json", "metrics.json", "metrics.jsonl", "train.lock"])
def test_no_file_of_a_run_stops_a_report(tmp_path, tiny_config, name, content):
    _write(tmp_path / "good", tiny_config)
    _write(tmp_path / "bad", tiny_config, measured=MEASURED)
    (tmp_path / "bad" / name).write_bytes(content)
    text, _ = _report(tmp_path)
    assert ">good</a>" in text and "bad</" in text


def test_numbers_that_are_no_json_are_told_and_the_others_shown(tmp_path, tiny_config):
    _write(tmp_path / "a", tiny_config, measured=MEASURED)
    path = tmp_path / "a" / "metrics.json"
    path.write_text(path.read_text().replace('"standard_error": 0.1', '"standard_error": NaN'))
    write_json(tmp_path / "a" / "metrics_0000020.json", {"step": 20, "fid": {"value": float("nan")}})
    text, _ = _report(tmp_path)
    assert "metrics.json is no JSON for every reader: it has NaN without quotes" in text
    assert "n 60" in text
    # Our own writer puts such numbers into quotes.
    assert "metrics_0000020.json" not in text


def test_the_results_folder_and_the_names_of_runs(tmp_path, tiny_config):
    runs = tmp_path / "runs & <more>"
    _write(runs / "<img src=x>", tiny_config)
    os.symlink(runs, runs / "<img src=x>" / "loop")
    command = ["main.py", "--mode", "report", "--runs", str(runs), f"--output={tmp_path / 'elsewhere'}"]
    assert main.main(command) == 0
    assert not (runs / "report.html").exists()
    page = Page((tmp_path / "elsewhere" / "report.html").read_text())
    assert "Runs in runs & <more>" in [text for _, text in page.all("h1")]
    assert "<img src=x>" in {text for _, text in page.all("a")}
    # The link leads to nothing new.
    assert len(page.all("img")) == 1
    assert all("src" in a and a["src"].startswith("data:image/png") for a, _ in page.all("img"))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "needs the folder of the runs: --runs=DIR"),
        (["--runs=nowhere"], "--runs=nowhere: there is no such folder"),
        (["--runs={empty}"], "holds no run"),
    ],
)
def test_a_report_of_nothing_is_refused_in_one_line(tmp_path, capsys, flags, told):
    flags = [flag.format(empty=tmp_path) for flag in flags]
    assert main.main(["main.py", "--mode=report", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and told in line


@pytest.mark.parametrize("output", [False, True])
def test_a_folder_that_cannot_be_written_to_is_named_by_its_flag(
    tmp_path, tiny_config, capsys, monkeypatch, output
):
    def refused(dir):
        raise OSError(30, "Read-only file system")

    _write(tmp_path / "runs" / "a", tiny_config)
    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    flags = [f"--runs={tmp_path / 'runs'}", *([f"--output={tmp_path}"] if output else [])]
    assert main.main(["main.py", "--mode=report", *flags]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    advice = "Choose another folder." if output else "Name another folder for the results: --output=DIR."
    assert line == f"error: {flags[-1]} cannot be written to: Read-only file system. {advice}"


def test_the_flag_is_of_this_mode(capsys):
    assert main.main(["main.py", "--mode=sample", "--workdir=x", "--runs=y"]) == 2
    assert "--runs is of --mode=" in capsys.readouterr().err


def test_a_large_picture_is_made_smaller(tmp_path):
    from reports.pictures import for_page

    noise = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    content, media, size, smaller = for_page(tmp_path / "large.png", most_bytes=10_000, most_side=100)
    assert smaller and media == "image/jpeg" and size == (100, 75)
    assert len(content) < (tmp_path / "large.png").stat().st_size / 5
    content, media, size, smaller = for_page(tmp_path / "large.png")
    assert not smaller and media == "image/png" and content == (tmp_path / "large.png").read_bytes()


def test_the_config_of_a_run_is_compared_with_its_classes_defaults(tmp_path, tiny_config):
    # One run names a default that the other leaves to the class: the two do not differ.
    _write(tmp_path / "a", tiny_config)
    tiny_config.sde.beta_max = 20.0
    _write(tmp_path / "b", tiny_config)
    text, _ = _report(tmp_path)
    assert "No field differs" in text


def test_checkpoints_that_were_evaluated_as_they_came_are_a_curve(tmp_path, tiny_config):
    _write(tmp_path / "a", tiny_config)
    for step, fid in ((10, 9.0), (20, 5.0)):
        content = {"step": step, "sample_quality": {"fid": {"value": fid, "interval": [fid - 1, fid + 1]}}}
        write_json(tmp_path / "a" / f"metrics_{step:07d}.json", content)
    _, page = _report(tmp_path)
    (told,) = [text for _, text in page.all("desc") if "9 at 10, 5 at 20" in text]
    assert told.startswith("a: ")
