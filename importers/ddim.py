"""Ho et al.'s (2020) networks as DDIM (Song, Meng & Ermon 2021) and pytorch_diffusion (Esser 2020) name them.

Those of DDIM's own CelebA and of Ho et al.'s CIFAR-10 and LSUN, which the second of these converted from
TensorFlow; Analytic-DPM's of CelebA and LSUN are the same files. A file of DDIM is a list, the state of the
network first (with `module.` before each name) and its average last.
"""

from importers import ho
from importers.mapping import POINT


def rows(network, template, image_side):
    """Rows of these names; see importers.ho.rows."""
    return ho.rows(network, template, image_side, _NAMES)


def _name(part):
    return {
        "time": f"temb.dense.{part.index}",
        "input": "conv_in",
        "middle_block": f"mid.block_{part.index + 1}",
        "middle_attention": "mid.attn_1",
        "down_block": f"down.{part.level}.block.{part.index}",
        "down_attention": f"down.{part.level}.attn.{part.index}",
        "down_resample": f"down.{part.level}.downsample",
        "up_block": f"up.{part.level}.block.{part.index}",
        "up_attention": f"up.{part.level}.attn.{part.index}",
        "up_resample": f"up.{part.level}.upsample",
        "output_norm": "norm_out",
        "output": "conv_out",
    }[part.kind]


_NAMES = ho.Names(
    part=_name,
    block=("norm1", "conv1", "temb_proj", "norm2", "conv2", "nin_shortcut"),
    attention=("norm", "q", "k", "v", "proj_out"),
    resample="conv",
    dense=POINT,
)
