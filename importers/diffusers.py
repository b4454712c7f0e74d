"""Hugging Face diffusers' `UNet2DModel`, in the form of Ho et al.'s (2020) DDPM: both ways.

A folder holds config.json, which says the architecture, and safetensors. With attention on the way up it is
our `unet`; `ddpm` goes out with attentions of zeros in the places where it has none, and comes back so. Other
forms of that class (other norms, embeddings, blocks, heads) are refused by the key of config.json.
"""

import re
from typing import NamedTuple

import numpy as np

from importers import ho
from importers.mapping import DENSE
from importers.refusal import brief, shown
from models.ddpm import DDPM
from models.unet import UNet

GROUPS = 32
# Keys with one value that our networks compute; what is not in a config.json has diffusers' default.
_FIXED = {
    "_class_name": "UNet2DModel",
    "time_embedding_type": "positional",
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "mid_block_type": "UNetMidBlock2D",
    "mid_block_scale_factor": 1,
    "downsample_padding": 0,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "act_fn": "silu",
    "attention_head_dim": None,
    "norm_num_groups": GROUPS,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-6,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
}
_DEFAULTS = _FIXED | {
    "_class_name": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "downsample_padding": 1,
    "attention_head_dim": 8,
    "norm_eps": 1e-5,
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_dim": None,
    "down_block_types": ("DownBlock2D", *3 * ("AttnDownBlock2D",)),
    "up_block_types": (*3 * ("AttnUpBlock2D",), "UpBlock2D"),
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "dropout": 0.0,
    "num_train_timesteps": None,
}
_ATTENTION = {"DownBlock2D": False, "AttnDownBlock2D": True, "UpBlock2D": False, "AttnUpBlock2D": True}
_BLOCK = re.compile(r"down_blocks\.[0-9]{1,5}\.resnets\.[0-9]{1,5}\.")
_ATTENTION_UP = re.compile(r"up_blocks\.([0-9]{1,5})\.attentions\.([0-9]{1,5})\.")
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


class Architecture(NamedTuple):
    """What a config.json says.

    Attributes:
      network: models.unet.UNet or models.ddpm.DDPM.
      image_side, image_channels: of the images.
    """

    network: UNet | DDPM
    image_side: int
    image_channels: int


def architecture(config, arrays=()):
    """The network of a folder.

    Args:
      config: its config.json, as a dictionary.
      arrays: {name: array}: the network is a DDPM where all but the last attention of each side on the way up
        are zero.

    Returns:
      Architecture.

    Raises:
      ValueError: no network here computes what the config describes; its keys are named.
    """
    unknown = sorted(key for key in config if key not in _DEFAULTS and not key.startswith("_"))
    if unknown:
        raise ValueError(f"unknown keys {', '.join(map(shown, unknown[:5]))}")
    config = _DEFAULTS | {key: value for key, value in config.items() if key in _DEFAULTS}
    _refuse_kinds(config)
    if config["act_fn"] == "swish":
        config["act_fn"] = "silu"
    for key, expected in _FIXED.items():
        if config[key] != expected:
            raise ValueError(f"{key}={brief(config[key])}: {expected!r} is the only one known")
    widths, attention = tuple(config["block_out_channels"]), _attention_levels(config)
    multipliers = tuple(width // widths[0] for width in widths)
    if any(width % widths[0] for width in widths) or any(width % GROUPS for width in widths):
        raise ValueError(
            f"block_out_channels={brief(widths)} must be multiples of the first, and of {GROUPS}"
        )
    if config["time_embedding_dim"] not in (None, 4 * widths[0]):
        raise ValueError(f"time_embedding_dim={brief(config['time_embedding_dim'])} must be {4 * widths[0]}")
    if arrays:
        _require_blocks(config, arrays)
    side = _side(config, len(widths))
    fields = {
        "channels": config["out_channels"],
        "width": widths[0],
        "multipliers": multipliers,
        "blocks": config["layers_per_block"],
        "attention": tuple(side // 2**level for level in attention),
        "dropout": config["dropout"],
    }
    if not attention or (arrays and _idle(arrays)):
        network = DDPM(**fields, recentre=config["center_input_sample"])
    elif config["center_input_sample"]:
        raise ValueError("center_input_sample=True: models/unet.py takes images as they are")
    elif min(widths) < 4 * GROUPS:
        raise ValueError(
            f"block_out_channels={brief(widths)}: below {4 * GROUPS} the norms of `unet` have fewer groups"
        )
    else:
        network = UNet(**fields)
    return Architecture(network, side, config["in_channels"])


def config_of(network, image_side, image_channels):
    """The config.json, as a dictionary, of a network that diffusers can compute.

    Raises:
      ValueError: it cannot; the field of config.model is named.
    """
    plain = isinstance(network, DDPM)
    if not isinstance(network, UNet | DDPM):
        raise ValueError(f"{type(network).__name__} is no UNet2DModel of diffusers: `ddpm` and `unet` are")
    levels = range(len(network.multipliers))
    if network.time_embedding != "sinusoidal":
        raise ValueError(f'model.time_embedding="{network.time_embedding}" must be "sinusoidal"')
    if plain and not network.resample_with_convolution:
        raise ValueError("model.resample_with_convolution=False must be True")
    if network.multipliers[0] != 1:
        raise ValueError(f"model.multipliers={network.multipliers} must begin with 1")
    if network.width % GROUPS or (not plain and network.width < 4 * GROUPS):
        raise ValueError(f"model.width={network.width}: norms must have {GROUPS} groups everywhere")
    if image_side % 2 ** levels[-1]:
        raise ValueError(f"images of side {image_side} cannot be halved {levels[-1]} times")
    if not plain and not network.attention:
        raise ValueError("model.attention=() must name a side")
    attends = [image_side // 2**level in network.attention for level in levels]
    return _FIXED | {
        "sample_size": image_side,
        "in_channels": image_channels,
        "out_channels": network.channels,
        "center_input_sample": bool(plain and network.recentre),
        "down_block_types": ["AttnDownBlock2D" if here else "DownBlock2D" for here in attends],
        "up_block_types": ["AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)],
        "block_out_channels": [network.width * multiplier for multiplier in network.multipliers],
        "layers_per_block": network.blocks,
        "dropout": network.dropout,
    }


def rows(network, template, image_side):
    """Rows of the names in a folder; see importers.ho.rows."""
    last = len(network.multipliers) - 1

    def name(part):
        down, up = f"down_blocks.{part.level}", f"up_blocks.{last - part.level}"
        return {
            "time": f"time_embedding.linear_{part.index + 1}",
            "input": "conv_in",
            "middle_block": f"mid_block.resnets.{part.index}",
            "middle_attention": "mid_block.attentions.0",
            "down_block": f"{down}.resnets.{part.index}",
            "down_attention": f"{down}.attentions.{part.index}",
            "down_resample": f"{down}.downsamplers.0",
            "up_block": f"{up}.resnets.{part.index}",
            "up_attention": f"{up}.attentions.{part.index}",
            "up_resample": f"{up}.upsamplers.0",
            "output_norm": "conv_norm_out",
            "output": "conv_out",
        }[part.kind]

    names = ho.Names(
        part=name,
        block=("norm1", "conv1", "time_emb_proj", "norm2", "conv2", "conv_shortcut"),
        attention=("group_norm", "to_q", "to_k", "to_v", "to_out.0"),
        resample="conv",
        dense=DENSE,
    )
    return ho.rows(network, template, image_side, names)


def renamed(arrays):
    """The arrays with attention named as today: diffusers once wrote query, key, value and proj_attn."""
    found = {}
    for name, array in arrays.items():
        head, *tail = name.rsplit(".", 2)
        if ".attentions." in name and len(tail) == 2 and tail[0] in _OLD_NAMES:
            name = f"{head}.{_OLD_NAMES[tail[0]]}.{tail[1]}"
        found[name] = array
    return found


def _refuse_kinds(config):
    """Raises ValueError for what is no number or list where the network needs one."""

    def count(value):
        return type(value) is int and value > 0

    kinds = {key: count for key in ("in_channels", "out_channels", "layers_per_block")}
    kinds["block_out_channels"] = lambda value: _is_list(value) and all(map(count, value))
    kinds |= {f"{way}_block_types": _is_list for way in ("down", "up")}
    kinds["sample_size"] = lambda value: count(value) or (_is_list(value) and all(map(count, value)))
    kinds["dropout"] = lambda value: type(value) in (int, float)
    kinds["center_input_sample"] = lambda value: type(value) is bool
    for key, fits in kinds.items():
        if not fits(config[key]):
            raise ValueError(f"{key}={brief(config[key])} is not what belongs there")


def _require_blocks(config, arrays):
    """Refuses a network far deeper than the file, of which the shapes alone would take long to make.

    Of a network that is nearly the file's what is missing is named later, tensor by tensor.
    """
    found = {match[0] for match in map(_BLOCK.match, arrays) if match}
    described = config["layers_per_block"] * len(config["block_out_channels"])
    if described > 2 * len(found) + 8:
        raise ValueError(
            f"layers_per_block={brief(config['layers_per_block'])} describes {brief(described)} residual "
            f"blocks on the way down, and the file has {len(found)}"
        )


def _is_list(value):
    return isinstance(value, list | tuple) and len(value) > 0


def _attention_levels(config):
    """The levels with attention, the same on both ways."""
    ways = [tuple(config[f"{way}_block_types"]) for way in ("down", "up")]
    for way, kinds in zip(("down", "up"), ways, strict=True):
        known = {kind for kind in _ATTENTION if way in kind.lower()}
        wrong = [kind for kind in kinds if not isinstance(kind, str) or kind not in known]
        if wrong or len(kinds) != len(config["block_out_channels"]):
            raise ValueError(
                f"{way}_block_types={brief(kinds)} must be plain or with attention, one for each width"
            )
    down, up = ([_ATTENTION[kind] for kind in kinds] for kinds in ways)
    if down != up[::-1]:
        raise ValueError(f"up_block_types={brief(ways[1])} must have attention where down_block_types has")
    return [level for level, here in enumerate(down) if here]


def _side(config, levels):
    side = config["sample_size"]
    sides = {side} if isinstance(side, int) else set(side or ())
    if len(sides) != 1 or min(sides) % 2 ** (levels - 1):
        raise ValueError(f"sample_size={brief(side)} must be one side, that can be halved {levels - 1} times")
    return min(sides)


def _idle(arrays):
    """Whether all but the last attention of each level of the way up is zero."""
    number = {}
    for match in filter(None, map(_ATTENTION_UP.match, arrays)):
        number.setdefault(match[1], set()).add(int(match[2]))
    others = [
        f"up_blocks.{level}.attentions.{i}." for level, all_ in number.items() for i in all_ - {max(all_)}
    ]
    return bool(others) and not any(
        np.any(array) for name, array in arrays.items() if name.startswith(tuple(others))
    )
