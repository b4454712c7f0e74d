"""What every data set offers: random access to uint8 images of one shape."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from components import UserError

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class DataError(UserError):
    """A data set that is missing, damaged, or not of the shape that the config asks for."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Images by index.

    Attributes:
      images: [N, H, W, C] uint8 in memory, or an object with `shape` that decodes
        images[indices] on demand.
      labels: [N] int32 classes, or None.
      pixel_values: number of pixel values: pixels lie in 0..pixel_values-1.
      recipe: how files became these arrays, recorded with every run.
      label_names: the name of each class, or None where they have none.
    """

    images: "np.ndarray | Decoded"
    labels: np.ndarray | None
    pixel_values: int
    recipe: str
    label_names: tuple[str, ...] | None = None

    def __len__(self):
        return self.images.shape[0]

    @property
    def shape(self):
        """[H, W, C] of one image."""
        return tuple(self.images.shape[1:])

    @property
    def classes(self):
        """Number of classes, those without an image here included where they have names; None: no labels."""
        if self.labels is None:
            return None
        return len(self.label_names) if self.label_names else int(self.labels.max()) + 1

    def batch(self, indices):
        """{"image": uint8 [b, H, W, C], "label": int32 [b] where there are labels} at indices [b]."""
        labels = {} if self.labels is None else {"label": self.labels[indices].astype(np.int32)}
        return {"image": self.images[indices], **labels}


class Decoded:
    """Images decoded when asked for, by a pool of threads.

    Args:
      decode: index -> uint8 [H, W, C]; raises DataError on a broken file.
      count: number of images.
      shape: [H, W, C].
      threads: decoders at work at once.
    """

    def __init__(self, decode: Callable, count, shape, threads):
        self.shape = (count, *shape)
        self._decode = decode
        self._pool = ThreadPoolExecutor(threads)

    def __getitem__(self, indices):
        return np.stack(list(self._pool.map(self._decode, indices)))

    def load(self, description):
        """All images as one array; a progress bar shows on a terminal.

        Raises:
          DataError: names up to five files that cannot be read, and how many there are.
        """
        images, broken = np.empty(self.shape, np.uint8), []

        def put(i):
            try:
                images[i] = self._decode(i)
            except DataError as error:
                broken.append(str(error))

        total = self.shape[0]
        list(tqdm(self._pool.map(put, range(total)), description, total, disable=None, leave=False))
        if broken:
            shown = "; ".join(sorted(broken)[:5])
            raise DataError(f"{len(broken)} of {total} images are broken: {shown}.")
        return images


def fit(image, size, channels):
    """A PIL image as uint8 [size, size, channels]: the largest centred square, resized.

    The recipe is Pillow's: BOX in one step for shrinking, BICUBIC for enlarging; size
    None keeps the image as it is.
    """
    if image.mode.startswith("I") or image.mode == "F":
        raise ValueError(f"mode {image.mode} has more than 8 bits a channel; convert it to 8 bits")
    image = ImageOps.exif_transpose(image).convert(MODES[channels])
    if size is not None and image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        method = Image.Resampling.BOX if side >= size else Image.Resampling.BICUBIC
        image = image.resize((size, size), method, box=(left, top, left + side, top + side))
    array = np.asarray(image, np.uint8)
    return array.reshape(*array.shape[:2], channels)


FIT_RECIPE = "largest centred square, Pillow BOX when shrinking, BICUBIC when enlarging"


def in_memory_if_it_fits(decoded, memory_gib, description):
    """The images as one array if they take at most `memory_gib`, else decoded on demand."""
    if np.prod(decoded.shape, dtype=np.int64) <= memory_gib * 2**30:
        return decoded.load(description)
    return decoded


def split_indices(count, split, holdout):
    """Indices of a split where the data set has none: a fixed shuffle, cut in two.

    Args:
      split: "train" or "test".
      holdout: part of the images in "test", at least one.
    """
    order = np.random.default_rng(0).permutation(count)
    held = max(1, round(count * holdout))
    return np.sort(order[held:] if split == "train" else order[:held])
