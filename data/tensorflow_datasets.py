"""`tfds:<name>`: any TFDS image data set, prepared once, read without tensorflow.

Data sets are kept as array_record in `data.directory`, the one file format of TFDS
that allows random access; `--mode=prepare` puts them there. tensorflow is needed only
while preparing.
"""

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from components import pasteable
from data.decode import fit, preparation, recipe
from data.source import DataError, Decoded, Source
from data.split import split_rows

TEST_SPLITS = ("test", "validation")


def _builder(name, config):
    """The TFDS builder of that name, set to the project's folder and format.

    Raises:
      DataError: TFDS knows no such data set.
    """
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=config.directory, file_format="array_record")
    except Exception as error:  # asserts, missing packages: whatever a name can set off
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f'data.source="tfds:{name}": {reason}') from None


def _is_prepared(builder):
    return Path(builder.data_dir).is_dir() and bool(builder.info.splits)


def _check_counts(name, builder):
    for split, info in builder.info.splits.items():
        found = len(builder.as_data_source(split=split))
        if found != info.num_examples:
            raise DataError(
                f'data.source="tfds:{name}": split "{split}" holds {found} of {info.num_examples} examples '
                f"in {builder.data_dir}. Delete that folder and run --mode=prepare again."
            )


def load(name, split, config):
    """The images of one split.

    Raises:
      DataError: the data set is unknown, not prepared, incomplete, or holds no images.
    """
    builder = _builder(name, config)
    if not _is_prepared(builder):
        raise DataError(
            f'data.source="tfds:{name}" is not prepared in data.directory="{config.directory}". Run: '
            f"python main.py --config=configs/images.py --mode=prepare --config.data.source=tfds:{name}"
            f" {pasteable('config.data.directory', config.directory)}"
        )
    _check_counts(name, builder)
    if "image" not in builder.info.features:
        raise DataError(
            f'data.source="tfds:{name}" has the features {", ".join(builder.info.features)}; '
            'an image data set has one called "image".'
        )
    splits = builder.info.splits
    test = next((s for s in TEST_SPLITS if s in splits), None)
    train = "train" if "train" in splits else next(iter(splits))
    chosen = test if split == "test" and test else train
    records = builder.as_data_source(split=chosen)
    # The place in a prepared split, which is the same wherever the set is prepared.
    keys = [f"{chosen}__{i}" for i in range(len(records))]
    rows, notes = range(len(records)), ()
    if test is None:
        rows, notes = split_rows(keys, split, config)
    unused = sorted(set(splits) - {train, test})
    if unused:
        notes = (*notes, f"left out: the splits {', '.join(unused)} of {name}")
    features = builder.info.features
    if np.dtype(features["image"].np_dtype) != np.uint8:
        raise DataError(
            f'data.source="tfds:{name}" holds images of {features["image"].np_dtype}; they must be uint8.'
        )
    shape = features["image"].shape
    side = config.image_size or config.crop or shape[0]
    channels = config.channels or (shape[2] if len(shape) == 3 else 1) or 3
    if side is None or (shape[0] != shape[1] and config.image_size is None and config.crop is None):
        raise DataError(
            f'data.source="tfds:{name}" holds images of shape {shape}: set data.image_size, the side '
            "that they are resized to."
        )

    how = preparation(config, side, channels)

    def decode(i):
        try:
            pixels = records[int(rows[i])]["image"]
        except Exception as error:  # whatever a damaged record sets off
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(f"example {rows[i]} of {builder.data_dir} cannot be read: {reason}") from None
        image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
        try:
            return fit(image, *how)
        except ValueError as error:
            raise DataError(f"example {rows[i]} of {builder.data_dir} cannot be used: {error}") from None

    names = getattr(features["label"], "names", None) if "label" in features else None
    return Source(
        Decoded(decode, len(rows), (side, side, channels), config.threads),
        _labels(builder, chosen, rows, config.threads) if names else None,
        pixel_values=256,
        recipe=f"TFDS {builder.info.full_name}, {recipe(*how)}",
        label_names=tuple(names) if names else None,
        names=tuple(keys[i] for i in rows),
        notes=notes,
    )


def _labels(builder, split, rows, threads):
    """[N] int32 labels of some rows, read without decoding the images."""
    import tensorflow_datasets as tfds

    records = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    with ThreadPoolExecutor(threads) as pool:
        return np.fromiter(pool.map(lambda i: records[int(i)]["label"], rows), np.int32, len(rows))


def prepare(name, config):
    """Downloads a data set and writes it as array_record; returns the number of examples.

    Raises:
      DataError: tensorflow is missing, the download fails, or examples got lost.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            "--mode=prepare needs tensorflow, which only this mode imports. "
            "Run: pip install -r requirements/tfds.txt"
        )
    builder = _builder(name, config)
    try:
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise DataError(
            f'data.source="tfds:{name}" could not be prepared: {type(error).__name__}: {lines[0]}'
        ) from error
    _check_counts(name, builder)
    return {split: info.num_examples for split, info in builder.info.splits.items()}
