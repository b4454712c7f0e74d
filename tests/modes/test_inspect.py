"""--mode=inspect: figures of a data set, batch by batch."""

import re
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import main
from data.transforms import Transform
from modes import inspect
from modes.inspect import largest_distance


@pytest.fixture
def images(tmp_path):
    images = np.random.default_rng(0).integers(3, 200, (300, 8, 8, 3), dtype=np.uint8)
    images[..., 1] //= 2
    held_out = images[:5]
    np.savez(tmp_path / "a.npz", train_images=images, test_images=held_out)
    return images


def _printed(capsys, path):
    source = f"--config.data.source=npz:{path}"
    assert main.main(["main.py", "--config=configs/digits.py", "--mode=inspect", source]) == 0
    return capsys.readouterr().out


def _numbers(out, name):
    (line,) = re.findall(rf"^{re.escape(name)}(.*)$", out, re.M)
    return [float(number) for number in re.findall(r"-?\d+\.\d+|\d+", line)]


@pytest.mark.parametrize("batch_bytes", [1000, 2**24])
def test_the_figures_are_those_of_all_pixels_whatever_the_batches(
    batch_bytes, images, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(inspect, "BATCH_BYTES", batch_bytes)
    out = _printed(capsys, tmp_path / "a.npz")
    scaled = np.asarray(Transform(256).to_model(images), np.float64)
    by_channel = [scaled[..., c] for c in range(3)]
    expected = [f(a) for f in (np.mean, np.std) for a in (scaled, *by_channel)]
    found = _numbers(out, "mean") + _numbers(out, "spread (std)")
    np.testing.assert_allclose(found, expected, atol=6e-5)
    assert _numbers(out, "pixel values")[:3] == [images.min(), images.max(), len(np.unique(images))]
    distances = np.linalg.norm(scaled.reshape(300, 1, -1) - scaled.reshape(1, 300, -1), axis=-1)
    assert abs(_numbers(out, "largest distance")[0] - distances.max()) < 6e-3


def test_the_largest_distance_is_that_of_any_two_blocks():
    images = np.random.default_rng(1).integers(0, 256, (50, 4, 4, 1), dtype=np.uint8)
    to_model = Transform(256).to_model
    flat = np.asarray(to_model(images), np.float64).reshape(50, -1)
    expected = np.linalg.norm(flat[:, None] - flat, axis=-1).max()
    for block in (1, 7, 64):
        assert largest_distance(images, to_model, block) == pytest.approx(expected)
    assert largest_distance(np.repeat(images[:1], 3, axis=0), to_model) == pytest.approx(0, abs=1e-6)


def test_memory_is_that_of_a_batch_beside_the_images(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(inspect, "BATCH_BYTES", 2**18)
    monkeypatch.setattr(inspect, "SAMPLED", 200)
    images = np.random.default_rng(0).integers(0, 256, (2000, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", train_images=images, test_images=images[:2])
    tracemalloc.start()
    _printed(capsys, tmp_path / "a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All at once they would be 12 bytes a pixel and more, as float32 and float64.
    assert peak < 5 * images.nbytes


def test_what_becomes_of_transparent_and_of_other_files_is_said(tmp_path, capsys):
    for i in range(6):
        Image.fromarray(np.full((8, 8, 4), 10 * i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("")
    command = ["main.py", "--config=configs/digits.py", "--mode=inspect", "--config.data.image_size=8"]
    command += [f"--config.data.source=folder:{tmp_path}", "--config.data.background=black"]
    assert main.main(command) == 0
    out = capsys.readouterr().out
    assert "transparent pixels on black" in out and "1 .txt" in out and "of 6 images are held out" in out
    assert main.main([*command, "--config.data.channels=4"]) == 0
    assert "transparent" not in capsys.readouterr().out
    assert main.main([*command, "--config.data.background=whiteish"]) == 2
    assert 'data.background="whiteish" is no colour' in capsys.readouterr().err


def test_a_broken_held_out_image_is_told_of(tmp_path, capsys):
    for split, count in (("train", 4), ("test", 2)):
        (tmp_path / split).mkdir()
        for i in range(count):
            Image.fromarray(np.full((8, 8), 10 * i, np.uint8)).save(tmp_path / split / f"{i}.png")
    broken = tmp_path / "test" / "1.png"
    command = ["main.py", "--config=configs/digits.py", "--mode=inspect", "--config.data.image_size=8"]
    command.append(f"--config.data.source=folder:{tmp_path}")
    assert main.main(command) == 0
    broken.write_bytes(broken.read_bytes()[:-30])
    capsys.readouterr()
    assert main.main(command) == 1
    assert f"{broken} cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(("values", "told"), [((0, 255), True), (range(120), False)])
def test_a_few_images_tell_that_most_values_are_unused(values, told, tmp_path, capsys):
    images = np.random.default_rng(0).choice(np.array(values, np.uint8), (5, 8, 8, 3))
    np.savez(tmp_path / "a.npz", train_images=images, test_images=images)
    assert ("bits/dim and dequantization are of all 256" in _printed(capsys, tmp_path / "a.npz")) == told


def test_images_that_are_all_alike_suggest_no_noise_level(tmp_path, capsys):
    images = np.full((5, 8, 8, 1), 7, np.uint8)
    np.savez(tmp_path / "a.npz", train_images=images, test_images=images)
    assert "sigma_max" not in _printed(capsys, tmp_path / "a.npz")
