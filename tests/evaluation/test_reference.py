"""Reference statistics: computed once, kept, resumed, and refused where they are of something else."""

import numpy as np
import pytest

from components import ConfigError, UserError
from configs import digits
from evaluation import reference as module
from evaluation.features import Extractor, create_extractor
from evaluation.reference import reference, refusals
from experiment.run_data import open_splits
from metrics.frechet import moments


@pytest.fixture
def config(tmp_path):
    config = digits.get_config()
    config.eval.features.name = "pixels"
    config.eval.reference.folder = str(tmp_path / "references")
    config.eval.batch_size = 64
    return config


@pytest.fixture(scope="module")
def splits():
    return open_splits(digits.get_config())


def _reference(config, splits=None):
    source = splits and splits[config.eval.reference.split]
    return reference(create_extractor(config.eval.features), config, source)


def _pixels(splits, split="train"):
    images = splits[split].batch(np.arange(len(splits[split])))["image"]
    return np.floor(images * 255.0 / 16 + 0.5).reshape(len(images), -1) / 255


def test_moments_are_those_of_the_split(config, splits):
    found = _reference(config, splits)
    expected = moments(_pixels(splits))
    np.testing.assert_allclose(found.features.features, _pixels(splits), atol=1e-6)
    np.testing.assert_allclose(found.features.moments.covariance, expected.covariance, atol=1e-7)
    root = found.features.moments.root
    np.testing.assert_allclose(root @ root, expected.covariance, atol=1e-7)
    assert found.provenance["images"] == len(splits["train"]) == found.features.count("moments")


def test_what_was_computed_is_read_the_next_time(config, splits, monkeypatch):
    first = _reference(config, splits)
    monkeypatch.setattr(Extractor, "features", None)
    again = _reference(config, splits)
    assert (first.features.features == again.features.features).all()
    assert first.provenance == again.provenance


def test_some_images_are_the_same_at_each_time_and_have_their_numbers(config, splits):
    config.eval.reference.images = 50
    found = _reference(config, splits)
    np.testing.assert_allclose(found.features.features, _pixels(splits)[found.indices], atol=1e-6)
    assert len(set(found.indices)) == 50 == found.provenance["images"]


def test_killed_work_goes_on_and_ends_alike(config, splits, monkeypatch, tmp_path):
    whole = _reference(config, splits).features.features
    config.eval.reference.folder = str(tmp_path / "killed")
    plain, calls = Extractor.features, []

    def until_killed(self, images, *args, **options):
        calls.append(len(images))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return plain(self, images, *args, **options)

    monkeypatch.setattr(Extractor, "features", until_killed)
    with pytest.raises(KeyboardInterrupt):
        _reference(config, splits)
    assert (_reference(config, splits).features.features == whole).all()
    # Four batches came before, and none of them a second time.
    assert sum(calls[5:]) == len(whole) - 4 * 64


def test_a_damaged_file_is_made_anew(config, splits):
    found = _reference(config, splits)
    path = next(module.Path(config.eval.reference.folder).glob("*.npz"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    for damaged in (bytes(content), bytes(content[:1000]), b""):
        path.write_bytes(damaged)
        assert (_reference(config, splits).features.features == found.features.features).all()


def test_other_splits_numbers_and_extractors_have_other_files(config, splits):
    _reference(config, splits)
    for field, value in (("reference.split", "test"), ("reference.images", 70)):
        config.eval.update_from_flattened_dict({field: value})
        _reference(config, splits)
    config.eval.features.name, config.eval.features.dimensions = "principal_components", 3
    found = _reference(config, splits)
    assert len(list(module.Path(config.eval.reference.folder).glob("*.npz"))) == 4
    again = _reference(config, splits)
    assert not again.extractor.needs_fit
    assert (again.extractor.feature.directions == found.extractor.feature.directions).all()
    assert found.extractor.identity == again.extractor.identity


def _file_of(config, splits):
    file = _reference(config, splits).provenance["file"]
    config.eval.reference.file = file
    return file


def test_a_file_of_ours_is_taken_by_its_path(config, splits):
    _file_of(config, splits)
    found = _reference(config, splits)
    np.testing.assert_allclose(found.features.features, _pixels(splits), atol=1e-6)


def test_a_file_of_another_extractor_is_refused_by_name(config, splits):
    _file_of(config, splits)
    config.eval.features.name = "principal_components"
    with pytest.raises(ConfigError, match="another extractor.*name=pixels and not principal_components"):
        _reference(config, splits)


def test_a_file_of_another_resolution_is_refused_by_name(config, splits):
    _file_of(config, splits)
    config.data.image_size, config.data.channels = 16, 1
    with pytest.raises(ConfigError, match="8x8x1, and those of data.source are 16x16x1.*another resolution"):
        _reference(config)


def test_a_file_of_another_data_set_is_refused_by_name(config, splits):
    _file_of(config, splits)
    other = module.dataclasses.replace(splits["train"], images=splits["train"].images[::-1].copy())
    with pytest.raises(ConfigError, match="another data set"):
        reference(create_extractor(config.eval.features), config, other)


def _foreign(config, tmp_path, **arrays):
    path = tmp_path / "foreign.npz"
    np.savez(path, **arrays)
    config.eval.reference.file = str(path)
    config.data.image_size, config.data.channels = 8, 1


def test_moments_of_other_tools_are_taken(config, splits, tmp_path):
    expected = moments(_pixels(splits))
    _foreign(config, tmp_path, mu=expected.mean, sigma=expected.covariance)
    with pytest.raises(ConfigError, match="set eval.reference.images"):
        _reference(config)
    config.eval.reference.images = 1463
    found = _reference(config)
    assert (found.features.moments.mean == expected.mean).all()
    assert found.features.count("moments") == 1463 and "neither" in found.provenance["note"]
    config.eval.reference.images = 20
    with pytest.raises(
        ConfigError, match="eigenvalues above zero, and of eval.reference.images=20 there are 19"
    ):
        _reference(config)
    few = moments(_pixels(splits)[:20])
    _foreign(config, tmp_path, mu=few.mean, sigma=np.float32(few.covariance))
    assert _reference(config).features.count("moments") == 20


_EYE = np.eye(64)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"mu": np.zeros(64)}, "holds mu"),
        ({"mu": np.zeros(64), "sigma": np.zeros((64, 3))}, "are of shapes"),
        ({"mu": np.zeros(64, int), "sigma": _EYE}, "real numbers"),
        ({"mu": np.full(64, np.nan), "sigma": _EYE}, "not finite"),
        ({"mu": np.zeros(64), "sigma": _EYE + np.eye(64, k=1)}, "not symmetric"),
        ({"mu": np.zeros(64), "sigma": _EYE - 2 * np.diag(np.arange(64) == 3)}, "the eigenvalue -1"),
        ({"mu": np.zeros(63), "sigma": np.eye(63)}, "features of 63 numbers.*have 64"),
        ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, "are of shapes"),
        ({"mu": np.zeros(64), "sigma": 1e300 * _EYE}, "numbers above"),
        ({"mu": np.zeros(64), "sigma": 0 * _EYE}, "no eigenvalue above zero"),
        ({"mu": np.zeros(64, np.float16), "sigma": _EYE}, "half precision"),
        ({"mu": np.full(64, 99.0), "sigma": _EYE}, "other units"),
        ({"pool_3": np.full((9, 64), np.nan, np.float32)}, "pool_3 is not finite"),
        ({"pool_3": np.zeros(())}, "pool_3 is float64 of shape"),
        ({"pool_3": np.zeros((2, 9, 64))}, "pool_3 is float64 of shape"),
        ({"pool_3": np.full((9, 64), "x")}, "pool_3 is <U1 of shape"),
    ],
)
def test_what_are_no_moments_of_this_extractor_is_refused(config, tmp_path, arrays, reason):
    _foreign(config, tmp_path, **arrays)
    config.eval.reference.images = 100
    with pytest.raises(ConfigError, match=reason):
        _reference(config)


def test_a_split_or_number_of_images_that_is_not_the_file_s_is_refused_by_name(config, splits, tmp_path):
    _file_of(config, splits)
    own, settings = config.eval.reference.file, config.eval.reference
    features = _pixels(splits)
    of_song, of_tools = tmp_path / "song.npz", tmp_path / "tools.npz"
    np.savez(of_song, pool_3=features)
    np.savez(of_tools, mu=features.mean(axis=0), sigma=np.cov(features, rowvar=False))
    config.data.image_size, config.data.channels = 8, 1
    for file, split, images, refused in (
        (own, "train", len(features), None),
        (own, "test", None, "is of the train split.*eval.reference.split=train"),
        (own, "train", 100, "is of 1463 images, and eval.reference.images=100"),
        (of_song, "train", len(features), None),
        (of_song, "train", 100, "is of 1463 images, and eval.reference.images=100"),
        (of_song, "test", None, "does not say of which split"),
        (of_tools, "test", 1463, "does not say of which split"),
    ):
        settings.file, settings.split, settings.images = str(file), split, images
        if refused is None:
            assert _reference(config).provenance["images"] == 1463
            continue
        with pytest.raises(ConfigError, match=refused):
            _reference(config)


def test_rounding_to_float32_is_no_fault(config, splits, tmp_path):
    expected = moments(_pixels(splits))
    _foreign(config, tmp_path, mu=np.float32(expected.mean), sigma=np.float32(expected.covariance))
    config.eval.reference.images = 1463
    _reference(config)


def test_a_missing_or_broken_file_is_refused(config, tmp_path):
    config.eval.reference.file = str(tmp_path / "none.npz")
    with pytest.raises(ConfigError, match="there is no such file"):
        _reference(config)
    (tmp_path / "none.npz").write_bytes(b"PK")
    with pytest.raises(ConfigError, match="cannot be read"):
        _reference(config)


def test_a_folder_that_cannot_be_made_is_refused(config, splits, tmp_path):
    (tmp_path / "file").touch()
    config.eval.reference.folder = str(tmp_path / "file")
    with pytest.raises(ConfigError, match="eval.reference.folder"):
        _reference(config, splits)


def test_a_folder_that_cannot_be_written_to_is_named_by_its_field(config, splits, tmp_path, monkeypatch):
    folder = tmp_path / "references"
    _reference(config, splits)

    def refused(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    # What is there needs no writing.
    _reference(config, splits)
    config.eval.reference.images = 50
    with pytest.raises(UserError, match=f"eval.reference.folder={folder} cannot be written to: Permission"):
        _reference(config, splits)


def test_the_subtree_is_refused_line_by_line(config):
    config.eval.reference.split, config.eval.reference.images = "tain", 1
    assert [line.split("=")[0] for line in refusals(config)] == [
        "eval.reference.split",
        "eval.reference.images",
    ]
