"""`npz:<path>`: uint8 arrays in a NumPy archive.

Keys `train_images` and `test_images`, [N, H, W, C] or [N, H, W], with optional
`train_labels` and `test_labels`; or `images` and `labels` alone, of which
`data.holdout` is held out. `label_names`, text, is optional too.
"""

import numpy as np

from data.source import DataError, Source
from data.split import content_keys, split_rows
from workdir import archives


def load(path, split, config):
    """The images of one split.

    Raises:
      DataError: the file is missing or damaged, or its arrays are not uint8 images.
    """
    try:
        keys = archives.names(path)
        prefix = "" if "images" in keys else f"{split}_"
        if f"{prefix}images" not in keys:
            raise DataError(
                f'data.source="npz:{path}" has the arrays {sorted(keys)}; it needs '
                '"train_images" and "test_images", or "images".'
            )
        arrays = archives.read(path, (f"{prefix}images", f"{prefix}labels", "label_names"))
    except FileNotFoundError:
        raise DataError(f'data.source="npz:{path}": there is no such file.') from None
    except (archives.ArchiveError, OSError) as error:
        raise DataError(f'data.source="npz:{path}" cannot be read: {error}. Replace the file.') from None
    images, labels = arrays[f"{prefix}images"], arrays.get(f"{prefix}labels")
    names = _names(path, arrays.get("label_names"))
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.dtype != np.uint8:
        raise DataError(
            f'data.source="npz:{path}": images are {images.dtype} of shape {images.shape}; '
            "they must be uint8 [N, H, W, C]."
        )
    if labels is not None and labels.ndim == 1 and len(labels) != len(images):
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


def _names(path, names):
    """The array label_names as a tuple of text, or None where there is none."""
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise DataError(
            f'data.source="npz:{path}": label_names are {names.dtype} of shape {names.shape}; they must be '
            "text [classes]."
        )
    return tuple(map(str, names))
