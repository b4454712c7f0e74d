"""`folder:<path>`: image files of any size in class folders, resized to `data.image_size`.

<path>/<class>/*.png, or images directly in <path>, which then have no labels; with <path>/train and
<path>/test each holding such a tree these are the splits, else `data.holdout` is held out.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from components import ConfigError
from data.source import FIT_RECIPE, DataError, Decoded, Source, fit, in_memory_if_it_fits, split_indices

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def _images(tree):
    return sorted(f for f in tree.rglob("*") if f.suffix.lower() in SUFFIXES)


def _class_of(file, tree):
    """The name of an image's class: its folder within the tree."""
    return file.parent.relative_to(tree).as_posix()


def load(path, split, config):
    """The images of one split, in the order of their file names.

    Raises:
      ConfigError: data.image_size is not set.
      DataError: no such folder, no images in it, or broken images.
    """
    if config.image_size is None:
        raise ConfigError(
            f'data.source="folder:{path}" needs data.image_size, the side that images are resized to.'
        )
    root = Path(path)
    if not root.is_dir():
        raise DataError(f'data.source="folder:{path}": there is no such folder.')
    splits = (root / "train").is_dir() and (root / "test").is_dir()
    tree = root / split if splits else root
    files = _images(tree)
    if not files:
        raise DataError(
            f'data.source="folder:{path}": no images in {tree}. Looked for {", ".join(sorted(SUFFIXES))}.'
        )
    if not splits and len(files) < 2:
        raise DataError(
            f'data.source="folder:{path}" has one image; one to train on and one to hold out are needed.'
        )
    # Of all splits, so that a class has one number in each of them.
    trees = [root / "train", root / "test"] if splits else [root]
    names = sorted({_class_of(f, tree) for tree in trees for f in _images(tree)})
    if not splits:
        files = [files[i] for i in split_indices(len(files), split, config.holdout)]
    channels = config.channels or 3

    def decode(i):
        try:
            with Image.open(files[i]) as image:
                return fit(image, config.image_size, channels)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{files[i]} cannot be used: {error}. Remove or replace it") from None

    shape = (config.image_size, config.image_size, channels)
    decoded = Decoded(decode, len(files), shape, config.threads)
    images = in_memory_if_it_fits(decoded, config.memory_gib, f"reading {tree}")
    recipe = f"{FIT_RECIPE}, side {config.image_size}"
    if len(names) == 1:
        return Source(images, None, pixel_values=256, recipe=recipe)
    number = {name: i for i, name in enumerate(names)}
    labels = np.array([number[_class_of(f, tree)] for f in files], np.int32)
    return Source(images, labels, pixel_values=256, recipe=recipe, label_names=tuple(names))
