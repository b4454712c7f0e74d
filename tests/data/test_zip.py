"""Archives of images: read in place, labelled by dataset.json, refused in one line where they are none."""

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import data
from components import UserError
from configs import base


@pytest.fixture
def config(tmp_path):
    config = base.get_config().data
    config.source, config.holdout = f"zip:{tmp_path / 'set.zip'}", 0.3
    return config


def _png(value, side=6):
    file = io.BytesIO()
    pixels = np.random.default_rng(value).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def _name(i):
    return f"{i // 1000:05d}/img{i:08d}.png"


def _write(path, count=12, labels="by number", compression=zipfile.ZIP_STORED, more=(), side=6):
    """An archive as dataset_tool.py writes it, with `more` members (name, bytes)."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for i in range(count):
            archive.writestr(_name(i), _png(i, side))
        for name, content in more:
            archive.writestr(name, content)
        if labels == "by number":
            labels = {"labels": [[_name(i), i % 3] for i in range(count)]}
        if labels is not None:
            archive.writestr("dataset.json", labels if isinstance(labels, str) else json.dumps(labels))
    return path


def _both(config):
    return data.create(config, "train", decoded=False), data.create(config, "test")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_images_and_labels_are_those_of_their_names(config, tmp_path, compression):
    _write(tmp_path / "set.zip", compression=compression)
    train, test = _both(config)
    assert len(train) + len(test) == 12 and len(test) and train.shape == (6, 6, 3) and train.classes == 3
    for source in (train, test):
        for row, name in enumerate(source.names):
            number = int(name[-12:-4])
            expected = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
            np.testing.assert_array_equal(source.images[row], expected)
            assert source.labels[row] == number % 3


def test_many_threads_read_at_the_same_time(config, tmp_path):
    _write(tmp_path / "set.zip", 300)
    source, _ = _both(config)
    expected = source.images[:]
    rows = np.random.default_rng(0).integers(0, len(source), 2_000)
    with ThreadPoolExecutor(16) as pool:
        for row, image in zip(rows, pool.map(lambda row: source.images[int(row)], rows), strict=True):
            np.testing.assert_array_equal(image, expected[row])


def test_an_archive_holds_the_same_images_to_a_run_as_the_folder_of_its_files(config, tmp_path):
    with zipfile.ZipFile(_write(tmp_path / "set.zip", labels=None)) as archive:
        archive.extractall(tmp_path / "folder")
    config.image_size = 6
    packed, _ = _both(config)
    config.source = f"folder:{tmp_path / 'folder'}"
    unpacked, _ = _both(config)
    assert packed.identity() == unpacked.identity()


@pytest.mark.parametrize("labels", [None, {"labels": None}])
def test_without_labels_there_are_no_classes(config, tmp_path, labels):
    _write(tmp_path / "set.zip", labels=labels)
    train, test = _both(config)
    assert train.labels is None and test.labels is None
    # A run of classes that forgot its labels would train another model.
    config.classes = 3
    with pytest.raises(UserError, match=r'data.classes=3, but data.source="zip:.*" has no labels'):
        data.resolve(config, train)


def test_hidden_files_are_left_out_and_unknown_ones_said(config, tmp_path):
    more = [("00000/._img00000000.png", b"\0\5\x16\7"), (".thumbs/a.png", _png(1)), ("__MACOSX/._b.png", b"")]
    _write(tmp_path / "set.zip", more=[*more, ("README", b""), ("a.npy", b"")])
    train, test = _both(config)
    assert len(train) + len(test) == 12
    assert any("left out" in note and "2 files" in note and "1 .npy" in note for note in train.notes)


def test_images_are_cut_and_resized_as_those_of_a_folder(config, tmp_path):
    _write(tmp_path / "set.zip", side=9)
    config.image_size, config.crop = 3, 6
    train, _ = _both(config)
    assert train.shape == (3, 3, 3) and "6" in train.recipe
    whole = np.random.default_rng(int(train.names[0][-12:-4])).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    expected = whole[1:7, 1:7].reshape(3, 2, 3, 2, 3).mean(axis=(1, 3))
    assert np.abs(train.images[0] - expected).max() <= 1


_OF_TWELVE = [[_name(i), 0] for i in range(12)]


@pytest.mark.parametrize(
    "labels, named",
    [
        ("{", "dataset.json"),
        ({"labels": 3}, "dataset.json"),
        ([], "dataset.json"),
        ({"labels": _OF_TWELVE[:-2]}, _name(10)),
        ({"labels": [*_OF_TWELVE[:-1], [_name(11), -1]]}, "-1"),
        ({"labels": [*_OF_TWELVE[:-1], [_name(11), [0.0, 1.0]]]}, "0.0"),
        ({"labels": [*_OF_TWELVE[:-1], [_name(11), True]]}, "True"),
    ],
)
def test_labels_that_are_none_are_refused(config, tmp_path, labels, named):
    _write(tmp_path / "set.zip", labels=labels)
    with pytest.raises(UserError) as error:
        data.create(config, "train")
    assert named in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_archive_is_refused_in_one_line(config, tmp_path):
    path = tmp_path / "set.zip"
    for content in (None, b"", b"no archive", _write(tmp_path / "a.zip").read_bytes()[:-40]):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError) as error:
            data.create(config, "train")
        assert "set.zip" in str(error.value) and "\n" not in str(error.value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README", b"")
    with pytest.raises(UserError, match="no images"):
        data.create(config, "train")


def test_a_damaged_image_is_named(config, tmp_path):
    path = _write(tmp_path / "set.zip")
    content = bytearray(path.read_bytes())
    at = content.find(b"IDAT")
    content[at + 8] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match="img00000000.png") as error:
        data.create(config, "train"), data.create(config, "test").images[:]
    assert "\n" not in str(error.value)


def test_squares_that_an_image_does_not_have_are_refused(config, tmp_path):
    _write(tmp_path / "set.zip")
    config.image_size, config.crop = 3, 7
    with pytest.raises(UserError, match="data.crop=7"):
        data.create(config, "train")


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"crop": 0}, "data.crop"),
        ({"crop_corner": (1, 2)}, "data.crop"),
        ({"crop": 3, "crop_corner": (1,)}, "data.crop_corner"),
        ({"crop": 3, "crop_corner": (-1, 0)}, "data.crop_corner"),
        ({"resize": "sinc"}, "data.resize"),
        ({"source": "digits", "crop": 4}, "data.crop"),
    ],
)
def test_cuts_that_cannot_be_are_refused_before_anything_is_read(config, fields, named):
    config.update(fields)
    with pytest.raises(UserError) as error:
        lines = list(data.refusals(config))
        raise UserError("\n".join(lines))
    assert named in str(error.value)
