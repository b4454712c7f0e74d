"""scikit-learn's 1,797 scans of handwritten digits: 8x8, one channel, 17 grey values.

From the UCI repository (Alpaydin & Kaynak 1998); bundled with scikit-learn, so that
nothing is downloaded.
"""

import importlib.util
from pathlib import Path

import numpy as np

from data.source import Source
from data.split import content_keys, split_rows


def load(argument, split, config):
    """The digits of a split; about `data.holdout` of all are held out."""
    # To import scikit-learn, whose load_digits reads this file, takes a second or two.
    (package,) = importlib.util.find_spec("sklearn").submodule_search_locations
    table = np.loadtxt(Path(package, "datasets", "data", "digits.csv.gz"), int, delimiter=",")
    pixels, labels = table[:, :-1].reshape(-1, 8, 8, 1).astype(np.uint8), table[:, -1]
    chosen, notes = split_rows(content_keys(pixels), split, config)
    return Source(
        pixels[chosen],
        labels[chosen],
        pixel_values=17,
        recipe="scikit-learn load_digits, values 0..16",
        label_names=tuple("0123456789"),
        notes=notes,
    )
