"""Held-out images stay held out, and trained ones trained on, whatever happens to the rest of the set."""

import shutil

import numpy as np
import pytest
from PIL import Image

import data
from components import UserError
from configs import base
from data.split import place, split_rows


@pytest.fixture
def config():
    config = base.get_config().data
    config.image_size, config.holdout = 6, 0.3
    return config


def _fill(root, numbers, seed=0):
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in numbers:
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(root / f"{number:03d}.png")
    return root


def _splits(config, root):
    config.source = f"folder:{root}"
    return {split: set(data.create(config, split).names) for split in ("train", "test")}


def test_files_that_come_and_go_move_no_other_one_to_the_other_split(config, tmp_path):
    root = _fill(tmp_path / "a", range(60))
    before = _splits(config, root)
    assert not before["train"] & before["test"] and len(before["train"] | before["test"]) == 60
    _fill(root, range(60, 90), seed=1)
    for number in range(0, 60, 7):
        (root / f"{number:03d}.png").unlink()
    after = _splits(config, root)
    assert not after["train"] & before["test"] and not after["test"] & before["train"]


def test_a_larger_holdout_holds_out_all_that_a_smaller_one_does(config, tmp_path):
    root = _fill(tmp_path / "a", range(60))
    small = _splits(config, root)["test"]
    config.holdout = 0.6
    assert small < _splits(config, root)["test"]


def test_the_split_is_that_of_the_names_within_the_set_wherever_it_lies(config, tmp_path):
    root = _fill(tmp_path / "a", range(30))
    shutil.copytree(root, tmp_path / "elsewhere" / "b")
    assert _splits(config, root) == _splits(config, tmp_path / "elsewhere" / "b")


def test_arrays_are_held_out_by_their_content_in_any_order(config, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 4, 4, 1), dtype=np.uint8)
    config.image_size = None

    def held_out(name, images):
        np.savez(tmp_path / name, images=images)
        config.source = f"npz:{tmp_path / name}"
        both = [{image.tobytes() for image in data.create(config, s).images} for s in ("train", "test")]
        assert not both[0] & both[1]
        return both[1]

    whole = held_out("a.npz", images)
    assert held_out("b.npz", rng.permutation(images)) == whole
    assert held_out("c.npz", images[:30]) <= whole
    # A picture that occurs twice is on one side.
    assert held_out("d.npz", np.concatenate([images, images])) == whole


def test_part_of_the_images_is_held_out_and_the_count_is_said(config):
    config.holdout = 0.25
    keys = [f"{i}.png" for i in range(10_000)]
    test, notes = split_rows(keys, "test", config)
    train, _ = split_rows(keys, "train", config)
    assert sorted([*train, *test]) == list(range(10_000))
    assert abs(len(test) - 2500) < 5 * np.sqrt(10_000 * 0.25 * 0.75)
    assert f"{len(test)} of 10000 images are held out" in notes[0] and "0.25" in notes[0]


@pytest.mark.parametrize(("holdout", "empty"), [(1e-9, "test"), (1 - 1e-9, "train")])
def test_an_empty_split_gets_the_image_nearest_the_border_and_says_so(config, holdout, empty):
    config.holdout = holdout
    keys = [f"{i}.png" for i in range(20)]
    rows, notes = split_rows(keys, empty, config)
    nearest = min(keys, key=lambda key: abs(place(key) - holdout))
    assert [keys[i] for i in rows] == [nearest]
    assert any("would be empty" in note and "data.holdout" in note for note in notes)
    other, _ = split_rows(keys, "train" if empty == "test" else "test", config)
    assert len(other) == 19 and rows[0] not in other


def test_equal_images_and_a_single_one(config):
    for split in ("train", "test"):
        assert len(split_rows([b"same"] * 5, split, config)[0]) in (1, 4)
        with pytest.raises(UserError, match="one to train on and one to hold out"):
            split_rows([b"one"], split, config)


def test_names_that_are_no_text_have_their_place():
    assert 0 <= place("caf\udce9.png") < 1 and place("a") != place("b")
