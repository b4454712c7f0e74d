"""The extractor that the config describes."""

import jax
import numpy as np
import pytest

from components import ConfigError, UserError
from configs import base
from evaluation import features
from evaluation.features import create_extractor, to_bytes
from importers import inception

IMAGES = np.random.default_rng(0).integers(0, 17, (21, 4, 4, 1), dtype=np.uint8)


def _settings(**fields):
    settings = base.get_config().eval.features
    settings.update(fields)
    return settings


def brightness(images):
    """A user's function."""
    return images.reshape(len(images), -1).mean(1, keepdims=True, dtype=np.float32)


@pytest.mark.parametrize("batch_size", [1, 8, 19, 64])
def test_features_do_not_depend_on_the_batch_nor_on_the_devices(batch_size):
    assert jax.local_device_count() == 8
    found = create_extractor(_settings(name="pixels")).features(IMAGES, batch_size, pixel_values=17)
    expected = np.floor(IMAGES * 255.0 / 16 + 0.5).reshape(21, 16) / 255
    np.testing.assert_allclose(found["features"], expected, atol=1e-6)


def test_progress_is_told_of_every_image():
    class Progress:
        done = 0

        def update(self, amount):
            self.done += amount

    progress = Progress()
    create_extractor(_settings(name="pixels")).features(IMAGES, 8, progress)
    assert progress.done == 21


def test_the_ends_of_any_range_are_those_of_bytes():
    for values in (2, 17, 100, 256):
        assert to_bytes(np.array([0, values - 1], np.uint8), values).tolist() == [0, 255]


def broken(images):
    """A user's function that fails for dark images."""
    with np.errstate(divide="ignore"):
        return 1 / images.reshape(len(images), -1).astype(float).max(axis=1, keepdims=True)


def test_features_that_are_not_finite_are_refused_with_their_number():
    extractor = create_extractor(_settings(name="function", function=f"{__name__}:broken"))
    images = np.ones((10, 4, 4, 3), np.uint8)
    images[[2, 3, 7]] = 0
    told = 'eval.features.name="function" gives NaN or infinite features for 3 of the 8 images'
    with pytest.raises(UserError, match=told):
        extractor.features(images, 8)


def test_a_user_s_function_is_called_with_bytes():
    extractor = create_extractor(_settings(name="function", function=f"{__name__}:brightness"))
    found = extractor.features(IMAGES, 8, pixel_values=17)["features"]
    np.testing.assert_allclose(found, brightness(to_bytes(IMAGES, 17)))
    assert extractor.identity["function"].endswith("brightness") and extractor.identity["source"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "inceptoin"}, r'eval.features.name="inceptoin" is unknown. Did you mean "inception"'),
        ({"resize": "bicubic"}, "resize='bicubic' is none of tf1, pytorch_fid, clean_fid, none"),
        ({"layer": 100}, "layer=100 is none of 64, 192, 768, 2048"),
        ({"weights": "nowhere.pth"}, r"eval.features.weights: .*nowhere.pth: there is no such file"),
        ({"weights": "s3://bucket/x"}, "eval.features.weights=.*is an address"),
        ({"name": "pixels", "layer": 64}, "eval.features.layer is set, but"),
        ({"name": "principal_components", "dimensions": 0}, "dimensions=0 must be positive"),
        ({"name": "function"}, "must be"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(fields, reason):
    with pytest.raises(ConfigError, match=reason) as refused:
        create_extractor(_settings(**fields))
    assert len(str(refused.value).splitlines()) == 1


def test_missing_weights_are_refused_with_what_brings_them(monkeypatch):
    monkeypatch.setattr(inception, "packaged", lambda: None)
    with pytest.raises(ConfigError, match="make fid.*eval.features.weights=PATH"):
        create_extractor(_settings())


def test_another_file_in_the_package_s_place_is_refused(monkeypatch):
    weights = inception.Weights({}, "0" * 64, None, 0)
    monkeypatch.setattr(inception, "packaged", lambda: "default_1.pt")
    monkeypatch.setattr(features.inception, "read", lambda path, shapes: weights)
    with pytest.raises(ConfigError, match="run `make fid` again"):
        create_extractor(_settings())


def test_images_of_shapes_without_such_features_are_refused():
    extractor = create_extractor(_settings(name="principal_components", dimensions=3))
    with pytest.raises(UserError, match="fitted on a reference first"):
        extractor.features(IMAGES, 8)
    fitted = extractor.fitted(IMAGES, "these")
    assert fitted.identity["fitted_on"] == "these"
    with pytest.raises(UserError, match="are too large"):
        fitted.features(np.zeros((1, 99, 99, 3), np.uint8), 8)


def test_dinov2_without_its_libraries_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ConfigError, match=r"pip install -r requirements/dinov2.txt"):
        create_extractor(_settings(name="dinov2", weights=str(tmp_path)))
