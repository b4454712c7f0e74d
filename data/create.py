"""From the subtree `data` to a source that agrees with it."""

import dataclasses

import numpy as np
from PIL import ImageColor

from components import ConfigError, choose, positive, within
from data.decode import FILTERS
from data.source import DataError
from data.sources import SOURCES, parse
from data.transforms import Transform
from parallel import memory
from workdir import storage

MOST_CLASSES = 1_000_000
# Sources whose images have their final side.
ARRAYS = ("digits", "npz")
LIMITS = (
    ("pixel_values", 2, 256),
    ("channels", 1, 4),
    ("image_size", 1, 1 << 20),
    ("crop", 1, 1 << 20),
    ("classes", 0, MOST_CLASSES),
    ("threads", 1, 1000),
    ("augmentation", 0, 1),
)


def refusals(config):
    """Lines with which the subtree `data` is refused before any data is read."""
    kind, argument = parse(config.source)
    if kind == "folder" and storage.on_store(argument):
        yield (
            f'data.source="{config.source}": image folders are read of this machine alone. Pack the images '
            "into an archive, zip:<address>, or copy them here."
        )
    yield from _cut_refusals(config, kind)
    if not 0 < config.holdout < 1:
        yield f"data.holdout={config.holdout} must lie strictly between 0 and 1."
    for field, low, high in LIMITS:
        yield from within(config, "data", low, high, field)
    yield from positive(config, "data", "memory_gib")
    frequencies = config.class_frequencies
    if frequencies is not None and not (min(frequencies, default=-1) >= 0 and sum(frequencies) > 0):
        yield (
            f"data.class_frequencies={frequencies} must be shares of the classes. Leave it out: the source "
            "fills it in."
        )
    try:
        colour = ImageColor.getrgb(config.background)
    except (ValueError, TypeError, AttributeError):
        colour = ()
    if len(colour) != 3:
        yield f'data.background="{config.background}" is no colour. Use a name or numbers: white, #7f7f7f.'


def _cut_refusals(config, kind):
    """Lines about the square that is cut from image files, and how it is resized."""
    for field in ("crop", "crop_corner", "resize"):
        if config[field] is not None and kind in ARRAYS:
            yield f'data.{field} is for image files, and data.source="{kind}" holds none. Leave it out.'
    corner = config.crop_corner
    if corner is not None and not (len(corner) == 2 and all(isinstance(n, int) and n >= 0 for n in corner)):
        yield f"data.crop_corner={corner} must be two whole numbers, (left, top)."
    if corner is not None and config.crop is None:
        yield f"data.crop_corner={corner} is the corner of a square: set its side, data.crop."
    if config.resize is not None:
        choose(FILTERS, config.resize, "data.resize")


def create(config, split, decoded=True, train=None):
    """The source that the subtree `data` describes, checked against its fields.

    Image files are decoded when they are read; but a training split that fits into `data.memory_gib` is
    decoded here, all of it.

        >>> from configs import digits
        >>> create(digits.get_config().data, "train").shape
        (8, 8, 1)

    Args:
      split: "train" or "test".
      decoded: False leaves a training split as files, too; `hold` decodes it later.
      train: Source of the training split, which the other must agree with.

    Raises:
      ConfigError, DataError: what is wrong, and with which field or file.
    """
    kind, argument = parse(config.source)
    load, _ = SOURCES[kind]
    source = load(argument, split, config)
    if len(source) == 0:
        raise DataError(f'data.source="{config.source}": the {split} split is empty.')
    height, width, channels = source.shape
    if height != width or height < 1:
        raise DataError(f'data.source="{config.source}" holds images {height}x{width}; they must be square.')
    if not 1 <= channels <= 4:
        raise DataError(f'data.source="{config.source}" has {channels} channels; 1 to 4 are supported.')
    if train and train.shape != source.shape:
        shapes = (
            f"{split} images {'x'.join(map(str, s.shape))}"
            for split, s in (("train", train), (split, source))
        )
        raise DataError(f'data.source="{config.source}" holds {" and ".join(shapes)}: they must be alike.')
    for field, found in (("image_size", height), ("channels", channels)):
        if config[field] is not None and config[field] != found:
            raise ConfigError(
                f'data.{field}={config[field]}, but data.source="{config.source}" has {found}. '
                f"Set data.{field}={found} or leave it out."
            )
    if source.labels is not None:
        _check_labels(source, config, split)
    source = dataclasses.replace(source, pixel_values=config.pixel_values or source.pixel_values)
    if isinstance(source.images, np.ndarray):
        source.check_values(source.images)
    return hold(config, source) if decoded and split == "train" else source


def _held_bytes(config):
    """Up to how many bytes of images are held in memory: no more than half of it, whatever the field says."""
    return min(config.memory_gib * memory.GIB, memory.of_machine() / 2)


def hold(config, source):
    """The source with its images decoded, where they fit into `data.memory_gib` and half the memory.

    Raises:
      DataError: names images that are broken.
      ConfigError: images with more values than data.pixel_values.
    """
    held = source.in_memory(_held_bytes(config), f"reading {config.source}")
    if held is not source:
        held.check_values(held.images)
    return held


def identity(config, sources, contents=True):
    """What tells the data of an experiment from other data, wherever it lies; for JSON.

    Args:
      config: the subtree `data`.
      sources: {"train": Source, "test": Source}.
      contents: False leaves out what needs image files to be read, as where they do not fit into
        `data.memory_gib`.
    """
    size = sum(source.bytes for source in sources.values())
    contents = contents and size <= _held_bytes(config)
    return {split: source.identity(contents) for split, source in sources.items()}


def _check_labels(source, config, split):
    classes, lowest, highest = config.classes or source.classes, source.labels.min(), source.labels.max()
    if lowest < 0:
        raise DataError(f'data.source="{config.source}" has labels below 0 in its {split} split.')
    if highest >= MOST_CLASSES:
        raise DataError(
            f'data.source="{config.source}" has labels up to {highest} in its {split} split; up to '
            f"{MOST_CLASSES} classes are supported. Number them from 0 on."
        )
    if highest >= classes:
        raise ConfigError(
            f'data.classes={classes}, but data.source="{config.source}" has labels up to {highest} in its '
            f"{split} split. Set data.classes={highest + 1} or more."
        )


def resolve(config, source):
    """Fills the fields of the subtree `data` that were left to the source: side, channels, values, classes.

    Args:
      source: of the training split, whose class frequencies are those that samples have.

    Raises:
      ConfigError: classes are set, and the source has no labels.
    """
    if config.classes and source.labels is None:
        raise ConfigError(
            f'data.classes={config.classes}, but data.source="{config.source}" has no labels. Name data with '
            "labels, or set data.classes=None (and model.class_conditional=False, where the model has it)."
        )
    config.image_size, _, config.channels = source.shape
    config.pixel_values = config.pixel_values or source.pixel_values
    config.classes = 0 if source.labels is None else config.classes or source.classes
    if source.labels is not None:
        counts = np.bincount(source.labels, minlength=config.classes)
        config.class_frequencies = tuple((counts / len(source)).tolist())


def transform(config):
    """The scaling of a resolved subtree `data`."""
    return Transform(
        config.pixel_values, config.centered, config.random_flip, config.dequantize, config.augmentation
    )


# So many images tell which pixel values are in use; fewer pixels for each value found than this do not.
LOOKED_AT, PIXELS_A_VALUE = 256, 16


def unused_values(config, source):
    """A line, if the images use at most half of the pixel values that they are said to have; else None.

    Likelihoods in bits and dequantization are of all pixel values: with two of 256 in use, both are of
    another data set than the user has.

    Args:
      config: the resolved subtree `data`; source: of the training split.
    """
    chosen = np.random.default_rng(0).permutation(len(source))[:LOOKED_AT]
    images, values = source.images[np.sort(chosen)], config.pixel_values
    used = np.unique(images)
    if images.size < PIXELS_A_VALUE * len(used) or 2 * len(used) > values:
        return None
    least = max(int(used[-1]) + 1, 2)
    if 2 * least <= values:
        advice = f"Set data.pixel_values={least}."
    else:
        advice = f"Number the values 0..{len(used) - 1} in the files and set data.pixel_values={len(used)}."
    return (
        f"the images use {len(used)} of data.pixel_values={values} values, up to {used[-1]}: bits/dim and "
        f"dequantization are of all {values}. {advice}"
    )
