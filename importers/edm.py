"""EDM's networks (Karras et al. 2022): SongUNet (DDPM++, NCSN++) and DhariwalUNet (ADM).

Their pickles hold a network within its preconditioning, so that each name starts with `model.`. Blocks are
named by the image side at which they stand, `enc.16x16_block0`. A block and the attention after it are one
module there and two here.
"""

import re

from importers.mapping import CONVOLUTION, DENSE, POINT, Table
from models.song_unet import SongUNet


def rows(network, template, image_side):
    """Rows of the names below `model.`.

    Args:
      network: models.song_unet.SongUNet or models.dhariwal_unet.DhariwalUNet.
      template: of its parameters.
      image_side: of the images; see `side`.

    Raises:
      ValueError: the network has parameters that none of that code base has.
    """
    table, song = Table(template), isinstance(network, SongUNet)
    _embedding(table)
    last = len(network.multipliers) - 1
    for level in range(last + 1):
        at = f"{image_side >> level}x{image_side >> level}"
        _way_down(table, network, level, f"enc.{at}", song)
        if level == last:
            _block(
                table,
                "middle_block_0",
                _attention("middle_block_0", "middle_attention", song),
                f"dec.{at}_in0",
            )
            _block(table, "middle_block_1", None, f"dec.{at}_in1")
        else:
            # What doubles the image is of the finer resolution here for SongUNet, as there.
            _block(table, f"up_{level if song else level + 1}_resample", None, f"dec.{at}_up")
        for i in range(network.blocks + 1):
            ours = f"up_{level}_block_{i}"
            _block(table, ours, _attention(ours, f"up_{level}_attention_{i}", song), f"dec.{at}_block{i}")
        if song:
            table.norm(f"output_{level}_norm", f"dec.{at}_aux_norm")
            table.layer(f"output_{level}", f"dec.{at}_aux_conv", CONVOLUTION)
    if not song:
        table.norm("output_norm", "out_norm")
        table.layer("output", "out_conv", CONVOLUTION)
    return table.finished()


def ignored(arrays):
    """The names in a network's state that are no weights: filters, and the noise levels of iDDPM."""
    return {name for name in arrays if name.endswith(".resample_filter") or name == "u"}


def side(arrays):
    """The side of the images that a network was made for, from its first convolution's name; None without."""
    for name in arrays:
        if match := re.fullmatch(r"(?:model\.)?enc\.([0-9]{1,5})x\1_conv\.weight", name):
            return int(match[1])
    return None


def _embedding(table):
    table.add("fourier/frequencies", "map_noise.freqs")
    table.layer("label/classes", "map_label", DENSE)
    table.layer("augmentation/augmentation", "map_augment", DENSE)
    table.layer("time_0", "map_layer0", DENSE)
    table.layer("time_1", "map_layer1", DENSE)


def _way_down(table, network, level, enc, song):
    if level == 0:
        table.layer("input", f"{enc}_conv", CONVOLUTION)
    else:
        _block(table, f"down_{level}_resample", None, f"{enc}_down")
    image = f"down_{level}_image"
    if song and network.progressive_input == "residual":
        table.layer(image, f"{enc}_aux_residual", CONVOLUTION)
    elif song:
        table.layer(image, f"{enc}_aux_skip", POINT)
    for i in range(network.blocks):
        ours = f"down_{level}_block_{i}"
        _block(table, ours, _attention(ours, f"down_{level}_attention_{i}", song), f"{enc}_block{i}")


def _attention(block, alone, song):
    return f"{block}_attention" if song else alone


def _block(table, ours, attention, theirs):
    table.norm(f"{ours}/norm_0", f"{theirs}.norm0")
    table.layer(f"{ours}/conv_0", f"{theirs}.conv0", CONVOLUTION)
    table.layer(f"{ours}/time", f"{theirs}.affine", DENSE)
    table.norm(f"{ours}/norm_1", f"{theirs}.norm1")
    table.layer(f"{ours}/conv_1", f"{theirs}.conv1", CONVOLUTION)
    table.layer(f"{ours}/shortcut", f"{theirs}.skip", POINT)
    if attention:
        table.norm(f"{attention}/norm", f"{theirs}.norm2")
        table.layer(f"{attention}/query_key_value", f"{theirs}.qkv", POINT)
        table.layer(f"{attention}/out", f"{theirs}.proj", POINT)
