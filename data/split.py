"""Which images are held out, where a data set has no split of its own.

An image is held out if the hash of its key, as a number in [0, 1), is below `data.holdout`. The key is the
image's name relative to the set, or its pixels where it has no name, so that images which come, go or change
their order take no other one from the training split into the held-out one.
"""

import hashlib

import numpy as np

from data.source import DataError


def place(key):
    """The hash of a key as a number in [0, 1).

    Args:
      key: bytes, or text.
    """
    if isinstance(key, str):
        # File names of old systems may hold bytes that are no text.
        key = key.encode("utf-8", "surrogateescape")
    first = int.from_bytes(hashlib.sha256(key).digest()[:8], "big")
    # As many bits as a float64 holds, so that no hash is rounded up to 1.
    return (first >> 11) / 2**53


def split_rows(keys, split, config):
    """The rows of a split, and what is to be said about it.

    Where a split would be empty, it gets the image whose hash is nearest to `data.holdout`.

    Args:
      keys: of all images of the set, in their order: N bytes or texts.
      split: "train" or "test".
      config: the subtree `data`; its `holdout` is the part of the images in "test", on average.

    Returns:
      ([n] increasing row numbers, lines).

    Raises:
      DataError: there are fewer than two images.
    """
    if len(keys) < 2:
        raise DataError(
            f'data.source="{config.source}" has {len(keys)} images; one to train on and one to hold out are '
            "needed."
        )
    places, holdout = np.array([place(key) for key in keys]), config.holdout
    held = places < holdout
    notes = []
    if held.all() or not held.any():
        empty = "training" if held.all() else "held-out"
        nearest = np.argmin(np.abs(places - holdout))
        held[nearest] = not held[nearest]
        notes.append(
            f"the {empty} split would be empty: it gets the one image whose hash is nearest to "
            f"data.holdout={holdout}"
        )
    notes.insert(0, f"{held.sum()} of {len(keys)} images are held out, by their hash; data.holdout={holdout}")
    return np.flatnonzero(held if split == "test" else ~held), tuple(notes)


def content_keys(images):
    """The bytes of each of the images [N, ...], their keys where they have no names."""
    return [image.tobytes() for image in images]
