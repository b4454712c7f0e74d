"""The noisy classifiers of guided-diffusion (Dhariwal & Nichol 2021): what network a file is of.

A file is the state of one `EncoderUNetModel`, with the names of importers/adm.py. Its names and shapes say
everything about the network but how many channels a head has: 64 in every classifier that the released code
makes. Entries of `input_blocks` that halve the image look like those that do not; which ones they are
follows from where channels change and attention stands.
"""

import math
import re
from typing import NamedTuple

from models.adm_classifier import ADMClassifier

_PLACES = "out.2.positional_embedding"


class Architecture(NamedTuple):
    """What the names and shapes in a file say.

    Attributes:
      network: models.adm_classifier.ADMClassifier.
      image_side, image_channels: of the images that it reads.
    """

    network: ADMClassifier
    image_side: int
    image_channels: int


class _Entry(NamedTuple):
    """An entry of `input_blocks`.

    Attributes:
      block: whether it has a residual block; else it is a convolution, or has no weights.
      channels: of its output; None where nothing says it.
      changes: whether it has another number of channels than the entry before.
      attends: whether attention follows the block.
    """

    block: bool
    channels: int | None
    changes: bool
    attends: bool


def is_one(arrays):
    """Whether the names are those of a classifier: the way down of a U-Net, and no way up."""
    down, up = ("input_blocks.0.0.", "output_blocks.")
    return any(name.startswith(down) for name in arrays) and not any(name.startswith(up) for name in arrays)


def architecture(arrays):
    """The Architecture of a file.

    Args:
      arrays: {name: array}.

    Raises:
      ValueError: a part is not there, or no classifier of the released code has these names and shapes.
    """
    if _PLACES not in arrays:
        raise ValueError(
            "it is a noisy classifier of guided-diffusion without attention pooling "
            f"({_PLACES}), which all released ones have"
        )
    width = _shape(arrays, "time_embed.0.weight", 2)[1]
    entries = _entries(arrays)
    levels, blocks = _levels(entries)
    groups = [entries[level * (blocks + 1) :][:blocks] for level in range(levels)]
    coarsest = math.isqrt(_shape(arrays, _PLACES, 2)[1] - 1)
    side = coarsest << (levels - 1)
    network = ADMClassifier(
        classes=_shape(arrays, "out.2.c_proj.weight", 3)[0],
        width=width,
        multipliers=tuple(_ratio(group[0].channels, width) for group in groups),
        blocks=blocks,
        attention=tuple(side >> level for level, group in enumerate(groups) if group[0].attends),
        **_kinds(arrays, entries[blocks] if levels > 1 else None, groups[0][0].channels),
    )
    return Architecture(network, side, _shape(arrays, "input_blocks.0.0.weight", 4)[1])


def _kinds(arrays, halves, channels):
    """Fields of the network that say of which kind its parts are."""
    scales = _shape(arrays, "input_blocks.1.0.emb_layers.1.weight", 2)[0] == 2 * channels
    return {
        "scale_shift_norm": scales,
        "resample_in_blocks": halves is None or halves.block,
        "resample_with_convolution": halves is None or halves.channels is not None,
    }


def _entries(arrays):
    """The _Entry of each of `input_blocks` but the first."""
    numbers = [int(m[1]) for m in map(re.compile(r"input_blocks\.([0-9]{1,4})\.").match, arrays) if m]
    before = _shape(arrays, "input_blocks.0.0.weight", 4)[0]
    entries = []
    for number in range(1, max(numbers) + 1):
        name, channels = f"input_blocks.{number}", None
        block = f"{name}.0.in_layers.2.weight" in arrays
        if block or f"{name}.0.op.weight" in arrays:
            channels = _shape(arrays, f"{name}.0.{'in_layers.2' if block else 'op'}.weight", 4)[0]
        changes = channels not in (None, before)
        entries.append(_Entry(block, channels, changes, f"{name}.1.qkv.weight" in arrays))
        before = channels or before
    return entries


def _levels(entries):
    """(number of resolutions, blocks of each): the one way to divide the entries, which end in a block."""
    count = len(entries) + 1
    fitting = [
        (count // size, size - 1)
        for size in range(2, count + 1)
        if count % size == 0 and _fits(entries, size)
    ]
    if len(fitting) != 1:
        raise ValueError(
            f"its {len(entries)} input_blocks are divided into resolutions in {len(fitting)} ways: no "
            "classifier of the released code"
        )
    return fitting[0]


def _fits(entries, size):
    """Whether each resolution can have so many entries, the last of which halves the image."""
    halving = entries[size - 1 :: size]
    blocks = [entries[start : start + size - 1] for start in range(0, len(entries), size)]
    return (
        len({(entry.block, entry.channels is None) for entry in halving}) <= 1
        and not any(entry.attends or entry.changes for entry in halving)
        and all(entry.block for group in blocks for entry in group)
        and all(len({entry.attends for entry in group}) == 1 for group in blocks)
        and not any(entry.changes for group in blocks for entry in group[1:])
    )


def _ratio(channels, width):
    return channels // width if channels % width == 0 else channels / width


def _shape(arrays, name, axes):
    """The shape of an array, once it is there and has that many axes, none of them empty."""
    if name not in arrays:
        raise ValueError(f"it is a noisy classifier of guided-diffusion without {name}: a part is missing")
    shape = arrays[name].shape
    if len(shape) != axes or 0 in shape:
        raise ValueError(f"{name} has the shape {shape}, which none in a classifier has")
    return shape
