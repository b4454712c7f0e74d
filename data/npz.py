"""`npz:<path>`: uint8 arrays in a NumPy archive.

Keys `train_images` and `test_images`, [N, H, W, C] or [N, H, W], with optional
`train_labels` and `test_labels`; or `images` and `labels` alone, of which
`data.holdout` is held out. `label_names`, text, is optional too.
"""

import zipfile
import zlib

import numpy as np

from data.source import DataError, Source
from data.split import content_keys, split_rows


def load(path, split, config):
    """The images of one split.

    Raises:
      DataError: the file is missing or damaged, or its arrays are not uint8 images.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            keys = set(archive.files)
            prefix = "" if "images" in keys else f"{split}_"
            if f"{prefix}images" not in keys:
                raise DataError(
                    f'data.source="npz:{path}" has the arrays {sorted(keys)}; it needs '
                    '"train_images" and "test_images", or "images".'
                )
            images = archive[f"{prefix}images"]
            labels = archive[f"{prefix}labels"] if f"{prefix}labels" in keys else None
            names = tuple(map(str, archive["label_names"])) if "label_names" in keys else None
    except FileNotFoundError:
        raise DataError(f'data.source="npz:{path}": there is no such file.') from None
    except (zipfile.BadZipFile, zlib.error, ValueError, TypeError, OSError, EOFError) as error:
        raise DataError(f'data.source="npz:{path}" cannot be read: {error}. Replace the file.') from None
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.dtype != np.uint8:
        raise DataError(
            f'data.source="npz:{path}": images are {images.dtype} of shape {images.shape}; '
            "they must be uint8 [N, H, W, C]."
        )
    if labels is not None and len(labels) != len(images):
        raise DataError(f'data.source="npz:{path}" has {len(images)} images but {len(labels)} labels.')
    if labels is not None and not (
        labels.ndim == 1
        and np.issubdtype(labels.dtype, np.integer)
        and (len(labels) == 0 or (labels.min() >= 0 and (names is None or labels.max() < len(names))))
    ):
        limit = "" if names is None else f" below {len(names)}, the number of label_names"
        raise DataError(
            f'data.source="npz:{path}": labels are {labels.dtype} of shape {labels.shape}; they must be '
            f"whole numbers [N] from 0 on{limit}."
        )
    notes = ()
    if not prefix and len(images):
        chosen, notes = split_rows(content_keys(images), split, config)
        images, labels = images[chosen], None if labels is None else labels[chosen]
    return Source(
        images, labels, pixel_values=256, recipe=f"arrays of {path}", label_names=names, notes=notes
    )
