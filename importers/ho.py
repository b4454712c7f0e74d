"""The parts of Ho et al.'s (2020) U-Net, in which importers/diffusers.py and importers/ddim.py name it.

Two networks here are of its form: models/unet.py, with attention after every block of a side on the way up as
theirs, and models/ddpm.py, with one for the last block of a side. What the latter lacks is an attention whose
weights are all zero: it adds nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

from importers.mapping import CONVOLUTION, DENSE, POINT, Layout, Table
from models.ddpm import DDPM


class Part(NamedTuple):
    """A part of the U-Net.

    Attributes:
      kind: "down_block", "down_attention", "down_resample", the same of "up" and "middle", and "input",
        "time", "output_norm", "output".
      ours: its name here.
      level: of the resolution, 0 the finest; what resamples is of the one that it starts from.
      index: within the level.
      idle: all zero; `ours` is another part of its shapes.
    """

    kind: str
    ours: str
    level: int = 0
    index: int = 0
    idle: bool = False


class Names(NamedTuple):
    """How a code base names the parts.

    Attributes:
      part: Part -> its name.
      block: names of norm, convolution, time, norm, convolution, shortcut within a residual block.
      attention: names of norm, queries, keys, values, output.
      resample: the name of the convolution in what resamples.
      dense: layout of the layers in attention.
    """

    part: Callable
    block: tuple
    attention: tuple
    resample: str
    dense: Layout


_BLOCK = {
    "unet": ("GroupNorm_0", "Conv_0", "Dense_0", "GroupNorm_1", "Conv_1", "shortcut"),
    "ddpm": ("norm1", "convolution1", "time", "norm2", "convolution2", "shortcut"),
}


def rows(network, template, image_side, names):
    """Rows of a code base's names.

    Args:
      network: models.unet.UNet or models.ddpm.DDPM.
      template: of its parameters; image_side: of the images.
      names: of the code base.

    Raises:
      ValueError: the network has parameters that Ho et al.'s has not.
    """
    table, plain = Table(template), isinstance(network, DDPM)
    parts = _parts_of_ddpm if plain else _parts_of_unet
    for part in parts(network, image_side):
        _write(table, part, names.part(part), names, "ddpm" if plain else "unet")
    return table.finished()


def _write(table, part, theirs, names, network):
    of = part.kind.split("_")[-1]
    if of == "block":
        norm_0, conv_0, time, norm_1, conv_1, shortcut = (
            (f"{part.ours}/{ours}", f"{theirs}.{name}")
            for ours, name in zip(_BLOCK[network], names.block, strict=True)
        )
        table.norm(*norm_0)
        table.layer(*conv_0, CONVOLUTION)
        table.layer(*time, DENSE)
        table.norm(*norm_1)
        table.layer(*conv_1, CONVOLUTION)
        table.layer(*shortcut, POINT)
    elif of == "attention":
        norm, *three, out = (f"{theirs}.{name}" for name in names.attention)
        ours = "norm" if network == "ddpm" else "GroupNorm_0"
        before = len(table.rows)
        table.norm(f"{part.ours}/{ours}", norm)
        table.layer(f"{part.ours}/query_key_value", three, names.dense)
        table.layer(f"{part.ours}/out", out, names.dense)
        if part.idle:
            table.rows[before:] = [row._replace(zero=True) for row in table.rows[before:]]
    elif of == "norm":
        table.norm(part.ours, theirs)
    elif of == "time":
        table.layer(part.ours, theirs, DENSE)
    else:
        theirs = f"{theirs}.{names.resample}" if of == "resample" else theirs
        table.layer(part.ours, theirs, CONVOLUTION)


def _parts_of_ddpm(network, image_side):
    """Of models/ddpm.py; where it has no attention `Table.layer` and `Table.norm` write no row."""
    last = len(network.multipliers) - 1
    for i in (0, 1):
        yield Part("time", f"noise/dense{i + 1}", index=i)
        yield Part("middle_block", f"middle_block{i}", index=i)
    yield from (Part("input", "input"), Part("middle_attention", "middle_attention"))
    yield from (Part("output_norm", "output_norm"), Part("output", "output"))
    for level in range(last + 1):
        for i in range(network.blocks + 1):
            if i < network.blocks:
                yield Part("down_block", f"down{level}_block{i}", level, i)
                yield Part("down_attention", f"down{level}_attention{i}", level, i)
            yield Part("up_block", f"up{level}_block{i}", level, i)
            yield Part("up_attention", f"up{level}_attention", level, i, idle=i < network.blocks)
        yield Part("down_resample", f"down{level}_resample/convolution", level)
        yield Part("up_resample", f"up{level}_resample/convolution", level)


def _parts_of_unet(network, image_side):
    """Of models/unet.py, whose modules are counted by class in the order in which they act."""
    last, count = len(network.multipliers) - 1, {}

    def counted(kind, of, level=0, index=0):
        number = count.get(of, 0)
        count[of] = number + 1
        return Part(kind, f"{of}_{number}", level, index)

    def block(way, level, index):
        yield counted(f"{way}_block", "ResidualBlock", level, index)
        if -(-image_side // 2**level) in network.attention:
            yield counted(f"{way}_attention", "SelfAttention", level, index)

    yield from (counted("time", "Dense", index=i) for i in (0, 1))
    yield Part("input", "input")
    for level in range(last + 1):
        if level > 0:
            yield counted("down_resample", "Conv", level - 1)
        for i in range(network.blocks):
            yield from block("down", level, i)
    yield counted("middle_block", "ResidualBlock", index=0)
    if network.attention:
        yield counted("middle_attention", "SelfAttention")
    yield counted("middle_block", "ResidualBlock", index=1)
    for level in range(last, -1, -1):
        for i in range(network.blocks + 1):
            yield from block("up", level, i)
        if level > 0:
            yield counted("up_resample", "Conv", level)
    yield from (counted("output_norm", "GroupNorm"), Part("output", "output"))
