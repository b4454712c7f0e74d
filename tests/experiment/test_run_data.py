"""A run knows its data by what it is: equal data goes on wherever it lies, changed data is refused."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import data
import main
from components import ConfigError
from configs import base
from experiment.run_data import open_splits
from tests.conftest import TINY, as_flags
from workdir.compatibility import data_changes, require_same_data, trained_on

FIELDS = {**TINY, "data.image_size": 8, "data.holdout": 0.3, "data.dequantize": False}
MODES = {
    "eval": {
        "eval.evaluators": "loss,two_sample",
        "eval.two_sample.num_samples": 4,
        "eval.two_sample.neighbours": 1,
    },
    "encode": {"encoding.num_images": 2, "encoding.tolerance": 1e-2, "encoding.interpolations": 1},
    "variance": {"variance.levels": 2, "variance.examples": 4},
    "optimal_grid": {"optimal_grid.levels": 3, "optimal_grid.examples": 4},
}


def _fill(root, numbers=range(40), seed=0):
    rng = np.random.default_rng(seed)
    for number in numbers:
        path = root / f"{number % 2}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Random pixels do not compress: all files have one size.
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(a folder of images, the workdir of a run of one step on them)."""
    root = tmp_path_factory.mktemp("data")
    images, workdir = _fill(root / "images"), root / "run"
    assert _run("train", workdir, images, {"training.steps": 1}) == 0
    return images, workdir


@pytest.fixture
def copy(trained, tmp_path):
    """Copies of both, to be changed."""
    images, workdir = trained
    shutil.copytree(images, tmp_path / "images")
    shutil.copytree(workdir, tmp_path / "run")
    return tmp_path / "images", tmp_path / "run"


def _run(mode, workdir, images, fields=None):
    source = images if isinstance(images, str) else f"folder:{images}"
    flags = as_flags({**FIELDS, "data.source": source, **MODES.get(mode, {}), **(fields or {})})
    return main.main(
        ["main.py", "--config=configs/digits.py", f"--workdir={workdir}", f"--mode={mode}", *flags]
    )


def _refusal(capsys, *command):
    capsys.readouterr()
    assert _run(*command) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "data.allow_changed=True" in lines[0]
    return lines[0]


def _add(images):
    _fill(images, [77], seed=1)


def _remove(images):
    (images / "0" / "04.png").unlink()


def _replace(images):
    """Another picture of the same name and size in bytes, trained on or held out: either is noticed."""
    path = images / "1" / "09.png"
    size = path.stat().st_size
    _fill(images, [9], seed=2)
    assert path.stat().st_size == size


def _swap(images):
    one, other = images / "0" / "00.png", images / "0" / "36.png"
    one.rename(images / "kept.png")
    other.rename(one)
    (images / "kept.png").rename(other)


CHANGES = {
    _add: "images -> ",
    _remove: "images -> ",
    _replace: "other contents",
    _swap: "other contents",
}


@pytest.mark.parametrize("change", CHANGES)
def test_training_does_not_go_on_with_changed_data(change, copy, capsys):
    images, workdir = copy
    change(images)
    for mode in ("train", "eval"):
        assert CHANGES[change] in _refusal(capsys, mode, workdir, images)


def test_changed_data_that_is_allowed_is_the_run_s_from_then_on(copy, capsys):
    images, workdir = copy
    _add(images)
    more = {"training.steps": 2}
    _refusal(capsys, "train", workdir, images, more)
    assert _run("train", workdir, images, {**more, "data.allow_changed": True}) == 0
    assert "warning: the run was trained on other data" in capsys.readouterr().err
    assert _run("train", workdir, images, {"training.steps": 3}) == 0
    # What it holds out now may have been trained on before; and the leave is not handed on.
    assert "images -> " in _refusal(capsys, "eval", workdir, images)
    saved = json.loads((workdir / "config.json").read_text())
    assert saved["config"]["data"]["allow_changed"] is False and len(saved["data"]) == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_that_reads_data_refuses_other_data_than_the_run_s(mode, copy, capsys):
    images, workdir = copy
    line = _refusal(capsys, mode, workdir, images, {"data.holdout": 0.5})
    assert "data.holdout: 0.3 -> 0.5" in line and "test: " in line and "images -> " in line
    shutil.copytree(images, images.with_name("others"))
    _replace(images.with_name("others"))
    assert f"-> folder:{images.with_name('others')}" in _refusal(
        capsys, mode, workdir, images.with_name("others")
    )


def test_check_refuses_changed_data_in_the_same_line(copy, capsys):
    images, workdir = copy
    _add(images)
    refused = _refusal(capsys, "eval", workdir, images).removeprefix("error: ")
    flags = as_flags({**FIELDS, **MODES["eval"], "data.source": f"folder:{images}"})
    with pytest.raises(SystemExit):
        main.main(
            [
                "main.py",
                "--config=configs/digits.py",
                f"--workdir={workdir}",
                "--mode=check",
                "--for=eval",
                *flags,
            ]
        )
    assert f"refused: {refused}" in capsys.readouterr().out


@pytest.mark.slow
def test_metrics_record_the_data_and_what_was_allowed(copy):
    images, workdir = copy
    assert _run("eval", workdir, images) == 0
    recorded = json.loads((workdir / "metrics.json").read_text())["data"]
    assert recorded["changed_since_training"] == []
    assert {split: data["images"] for split, data in recorded["identity"].items()} == {
        "train": 40 - recorded["identity"]["test"]["images"],
        "test": recorded["identity"]["test"]["images"],
    }
    assert _run("eval", workdir, images, {"data.holdout": 0.5, "data.allow_changed": True}) == 0
    recorded = json.loads((workdir / "metrics.json").read_text())["data"]
    assert any("data.holdout: 0.3 -> 0.5" in line for line in recorded["changed_since_training"])


def test_equal_data_goes_on_wherever_it_lies_and_however_it_is_written(copy, tmp_path):
    images, workdir = copy
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(images, moved)
    (tmp_path / "link").symlink_to(moved)
    steps = 1
    for source in (f"folder:{moved}/", f"folder:{moved.parent}/../link"):
        steps += 1
        assert _run("train", workdir, source, {"training.steps": steps}) == 0
    # Sets that are too large to be decoded at once are told by names and sizes.
    assert _run("train", workdir, images, {"training.steps": steps + 1, "data.memory_gib": 1e-9}) == 0
    assert _run("eval", workdir, moved) == 0


@pytest.mark.slow
def test_arrays_are_the_same_data_in_any_file(tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    np.savez_compressed(tmp_path / "b.npz", images=images)
    np.savez(tmp_path / "c.npz", images=images ^ np.arange(40, dtype=np.uint8)[:, None, None, None])
    workdir = tmp_path / "run"
    assert _run("train", workdir, f"npz:{tmp_path / 'a.npz'}", {"training.steps": 1}) == 0
    assert _run("train", workdir, f"npz:{tmp_path / 'b.npz'}", {"training.steps": 2}) == 0
    line = _refusal(capsys, "train", workdir, f"npz:{tmp_path / 'c.npz'}", {"training.steps": 3})
    assert "train: " in line


def test_a_head_is_not_trained_on_what_its_network_s_data_held_out(copy, capsys):
    images, workdir = copy
    fields = {
        "training.steps": 1,
        "training.network_from": workdir,
        "denoiser.variance_head": "residual",
        "loss.variance_weight": 1.0,
    }
    head = workdir.with_name("head")
    line = _refusal(capsys, "train", head, images, {**fields, "data.holdout": 0.5})
    assert f"training.network_from={workdir}" in line and "data.holdout: 0.3 -> 0.5" in line
    assert _run("train", head, images, fields) == 0


def test_what_is_held_out_and_left_out_is_said(copy, capsys):
    images, workdir = copy
    (images / "notes.txt").write_text("")
    assert _run("eval", workdir, images) == 0
    said = capsys.readouterr().err
    assert "of 40 images are held out" in said and "1 .txt" in said


def test_a_run_of_a_version_that_recorded_no_data_says_so(tiny_config):
    record = {"config": json.loads(json.dumps(tiny_config.to_dict()))}
    lines = data_changes(record, tiny_config, {})
    assert lines and "older version" in lines[0]
    with pytest.raises(ConfigError, match="older version.*data.allow_changed=True"):
        require_same_data(lines, tiny_config, "the run")
    tiny_config.data.allow_changed = True
    require_same_data(lines, tiny_config, "the run")
    # Once it has gone on with data that is known, that is compared for training, and never for evaluation.
    split = {"images": 3, "names": None, "sizes": None, "contents": "a", "labels": None, "recipe": None}
    identity = {"train": split, "test": split}
    record["data"] = [*trained_on(record), identity]
    assert data_changes(record, tiny_config, identity, latest=True) == []
    assert data_changes(record, tiny_config, identity)


def test_large_sets_are_told_by_names_and_sizes_and_their_files_are_not_read(copy, monkeypatch):
    images, _ = copy
    config = base.get_config()
    config.data.update({"source": f"folder:{images}", "image_size": 8, "memory_gib": 1e-9})
    monkeypatch.setattr("pathlib.Path.read_bytes", None)
    before = data.identity(config.data, open_splits(config))
    _replace(images)
    assert data.identity(config.data, open_splits(config)) == before
    _add(images)
    assert data.identity(config.data, open_splits(config)) != before


def test_a_broken_held_out_image_is_told_of_before_the_first_step(tmp_path, capsys):
    images = tmp_path / "images"
    for split in ("train", "test"):
        (images / split).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(np.full((8, 8), 10 * i, np.uint8)).save(images / split / f"{i}.png")
    (images / "test" / "3.png").write_bytes(b"no image")
    steps = {"training.steps": 2, "training.eval_every": 2, "checkpoint.every": 2}
    assert _run("train", tmp_path / "run", images, steps) == 1
    assert "3.png cannot be used" in capsys.readouterr().err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
