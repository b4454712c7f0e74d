"""Layouts of image folders: what is a split, what is a class, what is left out and said."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

import data
from components import UserError
from configs import base


@pytest.fixture
def config():
    config = base.get_config().data
    config.image_size, config.holdout = 6, 0.3
    return config


def _fill(root, count=6, value=None):
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", (6, 6), (value if value is not None else 10 * i,) * 3).save(root / f"{i}.png")
    return root


def _create(config, root, split="train"):
    config.source = f"folder:{root}"
    return data.create(config, split)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test", "Test", "VALIDATION"])
@pytest.mark.parametrize("train", ["train", "Train"])
def test_a_folder_for_validation_or_tests_is_held_out(config, tmp_path, train, name):
    _fill(tmp_path / train / "a", 8, 10)
    _fill(tmp_path / name / "a", 5, 240)
    found, held_out = _create(config, tmp_path), _create(config, tmp_path, "test")
    assert len(found) == 8 and (found.images[:] == 10).all()
    assert len(held_out) == 5 and (held_out.images[:] == 240).all()
    assert any(f"held out is {name}/" in note for note in found.notes)


def test_of_test_and_validation_the_test_is_held_out_and_the_other_left_out_and_said(config, tmp_path):
    for name, count in (("train", 8), ("val", 5), ("test", 3)):
        _fill(tmp_path / name, count)
    assert len(_create(config, tmp_path)) == 8 and len(_create(config, tmp_path, "test")) == 3
    assert any("left out" in note and "val/" in note for note in _create(config, tmp_path).notes)


def test_train_alone_is_the_training_set(config, tmp_path):
    for name in ("cat", "dog"):
        _fill(tmp_path / "train" / name)
    train, test = _create(config, tmp_path), _create(config, tmp_path, "test")
    assert len(train) + len(test) == 12 and train.label_names == ("cat", "dog")
    shutil.move(tmp_path / "train", tmp_path / "elsewhere")
    assert _create(config, tmp_path / "elsewhere").names == train.names


@pytest.mark.parametrize("names", [("train", "plane"), ("test", "val"), ("train", "Train", "test")])
def test_a_layout_that_can_be_read_in_two_ways_is_refused(config, tmp_path, names):
    for name in names:
        _fill(tmp_path / name)
    with pytest.raises(UserError) as error:
        _create(config, tmp_path)
    assert all(name in str(error.value) for name in names[:2]) and "\n" not in str(error.value)


def test_one_folder_cannot_be_both_splits(config, tmp_path):
    _fill(tmp_path / "train")
    (tmp_path / "test").symlink_to(tmp_path / "train")
    with pytest.raises(UserError, match="one folder"):
        _create(config, tmp_path)


def test_linked_class_folders_are_followed(config, tmp_path):
    for name in ("cat", "dog"):
        _fill(tmp_path / "real" / name)
        (tmp_path / "links").mkdir(exist_ok=True)
        (tmp_path / "links" / name).symlink_to(tmp_path / "real" / name)
    _fill(tmp_path / "links" / "owl")
    train, test = _create(config, tmp_path / "links"), _create(config, tmp_path / "links", "test")
    assert len(train) + len(test) == 18 and train.label_names == ("cat", "dog", "owl")
    # Its names are those that it has in the set.
    assert all(name.split("/")[0] in train.label_names for name in train.names)


def test_loops_of_links_end_and_no_image_is_met_twice(config, tmp_path):
    _fill(tmp_path / "a")
    _fill(tmp_path / "c")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "c")
    source = _create(config, tmp_path)
    assert len(source) + len(_create(config, tmp_path, "test")) == 12
    assert source.label_names == ("a", "c")
    assert any("links to folders" in note and "up" in note and "b" in note for note in source.notes)


def test_hidden_files_and_folders_are_left_out(config, tmp_path):
    _fill(tmp_path / "a")
    (tmp_path / "a" / "._0.png").write_bytes(b"\0\5\x16\7Mac OS X")
    for name in (".ipynb_checkpoints", ".thumbs"):
        _fill(tmp_path / "a" / name, 2)
        _fill(tmp_path / name / "train", 2)
    # The set itself may lie in a hidden folder.
    shutil.copytree(tmp_path / "a", tmp_path / ".cache" / "a")
    for root in (tmp_path, tmp_path / ".cache"):
        assert len(_create(config, root)) + len(_create(config, root, "test")) == 6


def test_unknown_suffixes_are_counted_and_said(config, tmp_path):
    _fill(tmp_path)
    for i in range(3):
        (tmp_path / f"{i}.jfif").write_bytes(b"")
    (tmp_path / "README").write_text("")
    (note,) = [note for note in _create(config, tmp_path).notes if "left out" in note]
    assert "4 files" in note and "3 .jfif" in note and "1 without a suffix" in note


def test_pipes_are_skipped_by_name(config, tmp_path):
    _fill(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    source = _create(config, tmp_path)
    assert len(source) + len(_create(config, tmp_path, "test")) == 6
    assert any("pipe.png" in note for note in source.notes)


def test_a_link_to_nothing_is_named(config, tmp_path):
    _fill(tmp_path)
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match="lost.png"):
        _create(config, tmp_path)


def test_held_out_images_are_decoded_as_many_as_are_read(config, tmp_path, monkeypatch):
    from data import folder

    _fill(tmp_path / "train", 3)
    _fill(tmp_path / "test", 9)
    decoded, decode = [], folder.decode

    def counted(content, name, *how):
        decoded.append(name.parent.name)
        return decode(content, name, *how)

    monkeypatch.setattr(folder, "decode", counted)
    held_out = _create(config, tmp_path, "test")
    assert decoded == []
    np.testing.assert_array_equal(held_out.batch([4, 2])["image"][:, 0, 0, 0], [40, 20])
    assert decoded == ["test", "test"]


def test_an_image_with_more_values_than_said_is_refused_when_it_is_decoded(config, tmp_path):
    _fill(tmp_path / "train", 6, 3)
    _fill(tmp_path / "test", 6, 200)
    config.pixel_values = 17
    assert len(_create(config, tmp_path)) == 6
    with pytest.raises(UserError, match="data.pixel_values=17.*up to 200"):
        _create(config, tmp_path, "test").batch([0])
