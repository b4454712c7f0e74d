"""What every data set offers: random access to uint8 images of one shape."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from components import ConfigError, UserError


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
      names: of the N images, relative to their set, wherever it lies; None where they have none.
      sizes: of the N images in bytes, known without reading them; None where they are not.
      contents: () -> digest of what the N images hold, at the cost of reading them; None where their pixels
        in memory say it, or nothing does.
      notes: lines about the set that its user should read.
    """

    images: "np.ndarray | Decoded"
    labels: np.ndarray | None
    pixel_values: int
    recipe: str
    label_names: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    sizes: tuple[int, ...] | None = None
    contents: Callable | None = None
    notes: tuple[str, ...] = ()

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
        """{"image": uint8 [b, H, W, C], "label": int32 [b] where there are labels} at indices [b].

        Raises:
          DataError: a file that cannot be decoded.
          ConfigError: images decoded here have more than `pixel_values` values.
        """
        labels = {} if self.labels is None else {"label": self.labels[indices].astype(np.int32)}
        images = self.images[indices]
        if isinstance(self.images, Decoded):
            self.check_values(images)
        return {"image": images, **labels}

    def check_values(self, images):
        """Refuses uint8 images [b, ...] with values of `pixel_values` or more.

        Raises:
          ConfigError: names data.pixel_values and what it should be at least.
        """
        largest = images.max(initial=0)
        if largest >= self.pixel_values:
            raise ConfigError(
                f"data.pixel_values={self.pixel_values}, but the data has pixels up to {largest}. "
                f"Set data.pixel_values={largest + 1} or more."
            )

    def in_memory(self, most, description):
        """The same source with its images as one array, if that takes at most so many bytes."""
        if not isinstance(self.images, Decoded) or self.bytes > most:
            return self
        return dataclasses.replace(self, images=self.images.load(description))

    @property
    def bytes(self):
        """What the images take in memory."""
        return int(np.prod(self.images.shape, dtype=np.int64))

    @functools.cached_property
    def _pixels(self):
        return digest([str(self.images.shape).encode(), np.ascontiguousarray(self.images).data])

    def identity(self, contents=True):
        """What tells these images from others, wherever they lie: a dict for JSON of text, numbers and None.

        Args:
          contents: False leaves None for what the images hold, where files would have to be read for it.
        """
        if self.contents is not None:
            held = self.contents() if contents else None
        else:
            held = self._pixels if isinstance(self.images, np.ndarray) else None
        return {
            "images": len(self),
            "names": None if self.names is None else digest(self.names),
            "sizes": None if self.sizes is None else digest(map(str, self.sizes)),
            "contents": held,
            "labels": None if self.labels is None else digest([np.asarray(self.labels, np.int32).tobytes()]),
            "recipe": None if self.names is None else self.recipe,
        }


def digest(parts):
    """SHA-256 of texts or bytes one after the other, as hexadecimal text of 16 digits."""
    found = hashlib.sha256()
    for part in parts:
        part = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        # With its length, so that no two lists of parts run into the same bytes.
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.hexdigest()[:16]


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
        indices = np.arange(self.shape[0])[indices]
        if indices.ndim == 0:
            return self._decode(int(indices))
        images = np.empty((len(indices), *self.shape[1:]), np.uint8)

        def put(row):
            images[row] = self._decode(int(indices[row]))

        list(self._pool.map(put, range(len(indices))))
        return images

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
