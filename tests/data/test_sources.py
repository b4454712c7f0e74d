"""Sources: what they hold, and what they say when they cannot."""

import dataclasses
import io
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import data
import main
from components import ConfigError, UserError
from configs import base
from data.decode import fit
from data.source import DataError, Decoded
from parallel import memory
from tests.conftest import ROOT, TINY, as_flags, environment


@pytest.fixture
def config():
    return base.get_config().data


def _folder(root, count=20, size=(13, 9)):
    rng = np.random.default_rng(0)
    for i in range(count):
        path = root / f"class{i % 2}" / f"{i:03d}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return root


def test_digits_are_all_of_scikit_learns_scans_once(config):
    from sklearn.datasets import load_digits

    train, test = data.create(config, "train"), data.create(config, "test")
    assert train.shape == (8, 8, 1) and train.pixel_values == 17 and train.images.dtype == np.uint8
    both = np.concatenate([train.images[:], test.images[:]]).reshape(-1, 64)
    both = np.column_stack([both, np.concatenate([train.labels, test.labels])])
    expected = np.column_stack(load_digits(return_X_y=True))
    assert len(both) == 1797
    np.testing.assert_array_equal(both[np.lexsort(both.T)], expected[np.lexsort(expected.T)])


def test_npz_with_splits_and_without(config, tmp_path):
    images = np.arange(10 * 4 * 4, dtype=np.uint8).reshape(10, 4, 4)
    np.savez(tmp_path / "a.npz", train_images=images[:8], test_images=images[8:], train_labels=np.arange(8))
    config.source = f"npz:{tmp_path / 'a.npz'}"
    train = data.create(config, "train")
    np.testing.assert_array_equal(train.images[..., 0], images[:8])
    np.testing.assert_array_equal(train.labels, np.arange(8))
    assert train.classes == 8 and train.label_names is None and data.create(config, "test").labels is None
    assert len(data.create(config, "test")) == 2

    np.savez(tmp_path / "b.npz", images=images)
    config.source, config.holdout = f"npz:{tmp_path / 'b.npz'}", 0.3
    train, test = data.create(config, "train"), data.create(config, "test")
    assert len(train) + len(test) == 10
    assert not set(map(bytes, train.images)) & set(map(bytes, test.images))


def test_folder_reads_classes_in_order_and_resizes(config, tmp_path):
    _folder(tmp_path)
    config.source, config.image_size, config.holdout = f"folder:{tmp_path}", 6, 0.2
    train, test = data.create(config, "train"), data.create(config, "test")
    assert len(train) + len(test) == 20 and train.shape == (6, 6, 3)
    assert sorted(set(train.labels)) == [0, 1] and train.label_names == ("class0", "class1")
    np.testing.assert_array_equal(test.images[0], fit(Image.open(tmp_path / test.names[0]), 6, 3))
    assert "BOX" in train.recipe and "6" in train.recipe


def test_shrinking_by_a_whole_factor_is_the_mean_of_the_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    found = fit(Image.fromarray(pixels), 4, 3).astype(float)
    expected = pixels[:, 2:10].reshape(4, 2, 4, 2, 3).mean(axis=(1, 3))
    assert np.abs(found - expected).max() <= 1


def test_folders_with_splits_of_their_own(config, tmp_path):
    _folder(tmp_path / "train", 6)
    _folder(tmp_path / "test", 4)
    config.source, config.image_size = f"folder:{tmp_path}", 5
    assert (len(data.create(config, "train")), len(data.create(config, "test"))) == (6, 4)


def test_a_class_has_one_number_in_both_splits_of_a_folder(config, tmp_path):
    _folder(tmp_path / "train", 6)
    _folder(tmp_path / "test", 6)
    shutil.rmtree(tmp_path / "test" / "class0")
    config.source, config.image_size = f"folder:{tmp_path}", 5
    test = data.create(config, "test")
    assert test.label_names == ("class0", "class1") and set(test.labels) == {1}


def test_images_in_no_class_folders_have_no_labels(config, tmp_path):
    folder = _folder(tmp_path / "some") / "class0"
    config.source, config.image_size = f"folder:{folder}", 5
    assert data.create(config, "train").labels is None


def test_a_resolved_config_holds_the_classes_and_their_frequencies(config, tmp_path):
    images, labels = np.zeros((8, 4, 4, 1), np.uint8), np.array([0, 0, 0, 3, 0, 3, 1, 1])
    np.savez(
        tmp_path / "a.npz",
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels + 1,
    )
    config.source = f"npz:{tmp_path / 'a.npz'}"
    data.resolve(config, data.create(config, "train"))
    assert config.classes == 4 and config.class_frequencies == (0.5, 0.25, 0.0, 0.25)
    with pytest.raises(UserError, match="data.classes=4.*labels up to 4 in its test split"):
        data.create(config, "test")


@pytest.mark.parametrize(
    "labels", [np.arange(8) - 1, np.ones(8), np.arange(8).reshape(8, 1), np.arange(8) + 2]
)
def test_labels_that_are_none_are_refused(config, tmp_path, labels):
    names = np.array([f"name{i}" for i in range(8)])
    np.savez(tmp_path / "a.npz", images=np.zeros((8, 4, 4, 1), np.uint8), labels=labels, label_names=names)
    config.source = f"npz:{tmp_path / 'a.npz'}"
    with pytest.raises(UserError, match="labels are"):
        data.create(config, "train")


def test_broken_images_are_all_named_at_once(config, tmp_path):
    train = _folder(tmp_path / "train")
    _folder(tmp_path / "test")
    (train / "class0" / "bad1.png").write_bytes(b"not an image")
    whole = (train / "class0" / "000.png").read_bytes()
    (train / "class1" / "bad2.png").write_bytes(whole[: len(whole) // 2])
    config.source, config.image_size = f"folder:{tmp_path}", 8
    with pytest.raises(UserError) as error:
        data.create(config, "train")
    assert "bad1.png" in str(error.value) and "bad2.png" in str(error.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("npz:/proc/nowhere.npz", "no such file"),
        ("folder:/proc/nowhere", "no such folder"),
        ("digits:3", "takes no argument"),
        ("npz", "npz:<path>"),
        ("digit", 'Did you mean "digits"'),
        ("tfds:no_such_set", "no_such_set"),
    ],
)
def test_sources_that_cannot_be_had_say_so(config, source, words):
    config.source, config.image_size = source, 8
    with pytest.raises(UserError, match=words):
        data.create(config, "train")


def test_pictures_that_would_be_spoilt_are_refused_or_turned(config, tmp_path):
    deep = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
    with pytest.raises(ValueError, match="8 bits"):
        fit(deep, 8, 1)
    upright = np.zeros((4, 4, 3), np.uint8)
    upright[0] = 255
    tag = Image.Exif()
    tag[0x0112] = 6  # shown after a quarter turn
    file = io.BytesIO()
    Image.fromarray(np.rot90(upright).copy()).save(file, "png", exif=tag)
    np.testing.assert_array_equal(fit(Image.open(file), None, 3), upright)


def test_a_pipe_is_no_archive_and_is_not_waited_for(config, tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    config.source = f"npz:{tmp_path / 'a.npz'}"
    with pytest.raises(DataError, match="it is no regular file"):
        data.create(config, "train")


def test_splits_of_different_sides_are_named(tmp_path, capsys):
    shapes = {"train_images": (6, 8, 8), "test_images": (6, 4, 4)}
    np.savez(tmp_path / "a.npz", **{name: np.zeros(shape, np.uint8) for name, shape in shapes.items()})
    source = f"--config.data.source=npz:{tmp_path / 'a.npz'}"
    assert main.main(["main.py", "--config=configs/images.py", "--mode=inspect", source]) == 1
    assert "train images 8x8x1 and test images 4x4x1: they must be alike" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["not a zip", "bare array", "few labels", "no pixels"])
def test_archives_of_the_wrong_kind_say_so(config, tmp_path, content):
    path = tmp_path / "a.npz"
    images = np.zeros((6, 4, 4), np.uint8)
    if content == "bare array":
        with path.open("wb") as file:
            np.save(file, images)
    elif content == "few labels":
        np.savez(path, images=images, labels=np.arange(2))
    elif content == "no pixels":
        np.savez(path, images=np.zeros((6, 0, 0), np.uint8))
    else:
        path.write_bytes(b"nothing of the kind")
    config.source = f"npz:{path}"
    with pytest.raises(UserError, match="data.source"):
        data.create(config, "train")


def test_an_empty_folder_and_a_damaged_archive_say_so(config, tmp_path):
    (tmp_path / "empty").mkdir()
    config.source, config.image_size = f"folder:{tmp_path / 'empty'}", 8
    with pytest.raises(UserError, match="no images"):
        data.create(config, "train")
    np.savez(tmp_path / "a.npz", images=np.zeros((0, 4, 4), np.uint8))
    config.source, config.image_size = f"npz:{tmp_path / 'a.npz'}", None
    with pytest.raises(UserError, match="empty"):
        data.create(config, "train")
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:50])
    config.source = f"npz:{tmp_path / 'b.npz'}"
    with pytest.raises(UserError, match="cannot be read"):
        data.create(config, "train")


def test_a_size_that_the_source_does_not_have_is_refused(config):
    config.image_size = 16
    with pytest.raises(ConfigError, match="data.image_size=16"):
        data.create(config, "train")


def test_a_set_larger_than_half_the_memory_is_decoded_on_demand(config, tmp_path, monkeypatch):
    _folder(tmp_path)
    config.source, config.image_size, config.memory_gib = f"folder:{tmp_path}", 6, 1e6
    whole = data.create(config, "train")
    assert isinstance(whole.images, np.ndarray)
    monkeypatch.setattr(memory, "of_machine", lambda: 2 * whole.bytes - 1)
    assert isinstance(data.create(config, "train").images, Decoded)


def test_decoding_on_demand_gives_what_is_in_memory(config, tmp_path):
    _folder(tmp_path)
    config.source, config.image_size = f"folder:{tmp_path}", 6
    whole = data.create(config, "train")
    config.memory_gib = 1e-9
    lazy = data.create(config, "train")
    assert isinstance(lazy.images, Decoded)
    np.testing.assert_array_equal(lazy.images[[3, 0, 3]], whole.images[[3, 0, 3]])


BUILDER = """
import io
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

class TinyPictures(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        picture, label = tfds.features.Image(shape=(6, 6, 3)), tfds.features.ClassLabel(names=["even", "odd"])
        features = {"image": picture, "label": label}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))
    def _split_generators(self, manager):
        return {"train": self._generate_examples(12), "test": self._generate_examples(5)}
    def _generate_examples(self, count):
        for i in range(count):
            file = io.BytesIO()
            Image.fromarray(np.full((6, 6, 3), 10 * i, np.uint8)).save(file, "png")
            file.seek(0)
            yield i, {"image": file, "label": i % 2}
"""

# As if it were not installed, on machines where it is: TFDS asks find_spec, and imports may try.
WITHOUT_TENSORFLOW = """
import importlib.machinery, sys
find_spec = importlib.machinery.PathFinder.find_spec
def find_no_tensorflow(name, path=None, target=None):
    return None if name.split(".")[0] == "tensorflow" else find_spec(name, path, target)
importlib.machinery.PathFinder.find_spec = find_no_tensorflow
"""

PREPARE = """
import tiny_pictures
tiny_pictures.TinyPictures(data_dir=sys.argv[1], file_format="array_record").download_and_prepare()
"""

TRAIN = """
import main, tiny_pictures
code = main.main(["main.py", *sys.argv[1:]])
assert not getattr(sys.modules.get("tensorflow"), "__file__", None)
sys.exit(code)
"""

READ = """
import data, tiny_pictures
from configs import base
config = base.get_config().data
config.source, config.directory = "tfds:tiny_pictures", sys.argv[1]
train, test = data.create(config, "train"), data.create(config, "test")
assert (len(train), len(test)) == (12, 5), (len(train), len(test))
values = sorted(set(train.images[:].ravel().tolist()))
assert values == [10 * i for i in range(12)], values
assert train.label_names == ("even", "odd")
assert (train.labels == train.images[:][:, 0, 0, 0] // 10 % 2).all(), train.labels
"""


def _python(script, *arguments, folder):
    """Runs a script in a process that has no tensorflow and can import the data set's builder."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**environment(1), "PYTHONPATH": f"{ROOT}:{folder}"},
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def prepared(tmp_path):
    """A folder with a TFDS image data set as array_record, and its builder."""
    (tmp_path / "tiny_pictures.py").write_text(BUILDER)
    _python(PREPARE, tmp_path, folder=tmp_path)
    return tmp_path


def test_prepared_tfds_sets_train_without_tensorflow(prepared):
    fields = {**TINY, "data.source": "tfds:tiny_pictures", "data.directory": prepared, "training.steps": 2}
    flags = ["--config=configs/digits.py", f"--workdir={prepared / 'run'}", *as_flags(fields)]
    done = _python(TRAIN, *flags, folder=prepared)
    assert "trained to step 2" in done.stderr and "12 images 6x6x3" in done.stderr


def test_tfds_images_are_read_by_index(prepared):
    _python(READ, prepared, folder=prepared)


def test_a_set_that_is_not_prepared_names_the_command(config, tmp_path):
    config.source, config.directory = "tfds:mnist", str(tmp_path)
    with pytest.raises(
        UserError, match="main.py --config=configs/images.py --mode=prepare --config.data.source=tfds:mnist"
    ):
        data.create(config, "train")


def test_preparing_without_tensorflow_says_what_to_install(config, tmp_path, monkeypatch):
    from data import tensorflow_datasets

    monkeypatch.setattr(tensorflow_datasets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="requirements/tfds.txt"):
        tensorflow_datasets.prepare("mnist", config)


def test_png_bytes_survive(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 4), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "png")
    np.testing.assert_array_equal(fit(Image.open(file), None, 4), pixels)


@pytest.mark.parametrize(
    ("values", "advice"),
    [((0, 1), "data.pixel_values=2."), ((0, 255), "0..1 in the files"), ((0, 3, 9), "data.pixel_values=10.")],
)
@pytest.mark.slow
def test_images_that_use_few_pixel_values_are_told_of_by_inspect_train_and_eval(
    values, advice, tmp_path, capsys
):
    images = np.random.default_rng(0).choice(np.array(values, np.uint8), (80, 8, 8))
    np.savez(tmp_path / "few.npz", images=images)
    fields = {
        **TINY,
        "data.source": f"npz:{tmp_path / 'few.npz'}",
        "training.steps": 1,
        "model.attention": "()",
    }
    fields |= {"eval.evaluators": "loss,two_sample", "eval.max_images": 8, "eval.two_sample.num_samples": 8}
    command = ["main.py", "--config=configs/digits.py", f"--workdir={tmp_path / 'run'}", *as_flags(fields)]
    for mode in ("inspect", "train", "eval") if values == (0, 1) else ("inspect",):
        assert main.main([*command, f"--mode={mode}"]) == 0
        said = "".join(capsys.readouterr())
        assert f"the images use {len(values)} of data.pixel_values=256" in said and advice in said


def test_images_that_use_all_pixel_values_or_are_few_are_not_told_of(config):
    source = data.create(config, "train")
    data.resolve(config, source)
    assert data.unused_values(config, source) is None
    few = dataclasses.replace(source, images=source.images[:2], labels=None)
    config.pixel_values = 256
    assert data.unused_values(config, few) is None and data.unused_values(config, source) is not None
