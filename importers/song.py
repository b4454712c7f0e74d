"""Song et al.'s (2021) checkpoints of DDPM, DDPM++ and NCSN++, of both of their repositories.

score_sde_pytorch numbers all modules of a network in the order in which they are made, `all_modules.N`, with
`module.` of its data parallelism before it. score_sde, in Flax, counts the modules of each class,
`ResnetBlockBigGANpp_3`. Both have the same modules in the same order, which `_modules` goes through; within
a module the names are the same but for Flax's `kernel` and `scale`, which are `weight` in PyTorch.

Their `ncsn` and `ncsnv2` are not here: those of score_sde_pytorch do not run as published, and those of
score_sde compute other norms and interpolations than the networks of the papers, which importers/ncsn.py has.
"""

import re
from typing import NamedTuple

import numpy as np

from importers.mapping import CONVOLUTION, DENSE, FLAX_POINT, POINT, SAME, Layout, Table, part
from importers.refusal import shown
from models.ddpm import DDPM

# In the state of a PyTorch network, and no weights.
IGNORED = ("sigmas",)


class _Spelling(NamedTuple):
    """How one of the two frameworks writes names, and lays out kernels.

    Attributes:
      dot: between a module and what it has.
      kernel, scale: of a layer and a norm; of a convolution with a filter the kernel is `weight` in both.
      convolution, dense, point: layouts of kernels.
    """

    dot: str
    kernel: str
    scale: str
    convolution: Layout
    dense: Layout
    point: Layout


_PYTORCH = _Spelling(".", "weight", "weight", CONVOLUTION, DENSE, POINT)
_FLAX = _Spelling("/", "kernel", "scale", SAME, SAME, FLAX_POINT)


def pytorch_rows(network, template):
    """Rows of score_sde_pytorch's names, without `module.` before them.

    Args:
      network: models.ddpm.DDPM or models.ncsnpp.NCSNpp.
      template: of its parameters.

    Raises:
      ValueError: the network has parameters that none of that code base has.
    """
    table, number = Table(template), 0
    for kind, ours in _modules(network, table.has):
        # The pyramids' resampling without parameters stands outside the list.
        if kind not in ("image_down", "image_up"):
            _write(table, network, kind, ours, f"all_modules.{number}", _PYTORCH)
            number += 1
    return table.finished()


def flax_rows(network, template):
    """Rows of score_sde's names, with "/" between those of a module and of its parts.

    Arguments and errors as of `pytorch_rows`.
    """
    table, count = Table(template), {}
    for kind, ours in _modules(network, table.has):
        name = _class_name(network, kind)
        _write(table, network, kind, ours, f"{name}_{count.get(name, 0)}", _FLAX)
        count[name] = count.get(name, 0) + 1
    return table.finished()


def pytorch_weights(checkpoint):
    """(parameters, averages), each {name: array} without `module.`, of a checkpoint of score_sde_pytorch.

    Args:
      checkpoint: {"model": {name: array}, "ema": {"shadow_params": [array], ...}, ...}.

    Raises:
      ValueError: a part is not there, or the averages do not fit the parameters.
    """
    model = {name.removeprefix("module."): array for name, array in part(checkpoint, "model").items()}
    return model, pytorch_average(model, part(checkpoint, "ema", "shadow_params"))


def unread(model):
    """Names of the arrays that an unconditional NCSN++ of score_sde_pytorch holds and never reads.

    With config.model.conditional=False the network is not told the noise level, and has nonetheless the dense
    layer of every block that would add it to `out` features (Dense_0: its kernel [out, 4 nf]), and, where it
    was to be embedded so, the Fourier frequencies. `model` is {name: array} without `module.`; of any other
    network, whose first layer is dense, there are none.
    """
    frequencies = np.ndim(model.get("all_modules.0.W")) == 1
    first = np.shape(model.get(f"all_modules.{int(frequencies)}.weight"))
    if len(first) != 4:
        return []
    found = ["all_modules.0.W"] if frequencies else []
    for name, array in model.items():
        block, _, part_of_layer = name.partition(".Dense_0.")
        out = np.shape(model.get(f"{block}.Conv_0.bias"))
        expected = {"weight": (*out, 4 * first[0]), "bias": out}.get(part_of_layer)
        if len(out) == 1 and np.shape(array) == expected:
            found.append(name)
    return found


def without(arrays, left_out):
    """The arrays but for those that `unread` names, and modules counted as if these had not been made."""
    arrays = {name: array for name, array in arrays.items() if name not in left_out}
    if "all_modules.0.W" not in left_out:
        return arrays
    numbered = r"all_modules\.([0-9]{1,5})\."
    return {
        re.sub(numbered, lambda match: f"all_modules.{int(match[1]) - 1}.", name, count=1): array
        for name, array in arrays.items()
    }


def flax_weights(checkpoint):
    """(parameters, averages), each {name: array} with "/" in names, of a checkpoint of score_sde.

    Args:
      checkpoint: {"optimizer": {"target": tree, ...}, "params_ema": tree, ...}, as in its msgpack.

    Raises:
      ValueError: a part is not there.
    """
    trees = (part(checkpoint, "optimizer", "target"), part(checkpoint, "params_ema"))
    return tuple(flax_names(tree["params"] if set(tree) == {"params"} else tree) for tree in trees)


def pytorch_average(model, shadow):
    """The averaged weights {name: array} of a PyTorch checkpoint, without `module.`.

    The averages are a list without names, in the order of the parameters that are trained: the state of the
    network without its noise levels and the Fourier frequencies, which are the only vectors called W.

    Args:
      model: {name: array} of the network, in the order of the checkpoint.
      shadow: the list `shadow_params` of its `ema`.

    Raises:
      ValueError: the list is not as long as the names, or has another shape than the parameter of that name.
    """
    model = {name.removeprefix("module."): array for name, array in model.items()}
    fixed = [
        name
        for name, array in model.items()
        if name in IGNORED or (name.endswith(".W") and np.ndim(array) == 1)
    ]
    names = [name for name in model if name not in fixed]
    if len(names) != len(shadow):
        raise ValueError(f"{len(shadow)} averages (shadow_params) do not belong to {len(names)} parameters")
    for name, average in zip(names, shadow, strict=True):
        there, expected = np.shape(average), np.shape(model[name])
        if there != expected:
            raise ValueError(f"the average of {shown(name)} has the shape {there}, the parameter {expected}")
    return model | dict(zip(names, shadow, strict=True))


def flax_names(params):
    """{name: array} of a tree of parameters, with modules counted by class.

    Flax's first interface, flax.deprecated.nn, counted all modules of one level together (Conv_0, Dense_1);
    the later one counts those of each class. Levels where no two modules have the same number are counted
    anew, in the order of their numbers.
    """
    flat = {}
    for name, below in _counted_by_class(params).items():
        if isinstance(below, dict):
            flat |= {f"{name}/{path}": leaf for path, leaf in flax_names(below).items()}
        else:
            flat[name] = below
    return flat


def _counted_by_class(level):
    numbered = {name: re.fullmatch(r"(.+)_([0-9]{1,5})", name) for name in level}
    numbers = [int(match[2]) for match in numbered.values() if match]
    if len(set(numbers)) < len(numbers):
        return level
    count, renamed = {}, {}
    for name in sorted(level, key=lambda name: int(numbered[name][2]) if numbered[name] else -1):
        match = numbered[name]
        if match and isinstance(level[name], dict):
            number = count.get(match[1], 0)
            count[match[1]] = number + 1
            renamed[f"{match[1]}_{number}"] = level[name]
        else:
            renamed[name] = level[name]
    return renamed


def _modules(network, has):
    """(kind, our name) of all modules of the published network, in the order in which its code makes them.

    Args:
      has: whether our tree has a name: where attention is, and pyramids.
    """
    plain = isinstance(network, DDPM)
    last = len(network.multipliers) - 1
    resample = "resample_block" if _big_gan(network) else "resample"
    if has("noise/fourier"):
        yield "fourier", "noise/fourier/frequencies"
    if has("noise"):
        yield from (("dense", "noise/dense1"), ("dense", "noise/dense2"))
    yield "convolution", "input"
    for level in range(last + 1):
        for i in range(network.blocks):
            yield "block", f"down{level}_block{i}"
            if has(f"down{level}_attention{i}"):
                yield "attention", f"down{level}_attention{i}"
        if level < last:
            yield f"{resample}_down", f"down{level}_resample"
            if not plain and network.progressive_input == "input_skip":
                yield from (("image_down", None), ("combine", f"down{level}_pyramid"))
            elif not plain and network.progressive_input == "residual":
                yield "resample_down", f"down{level}_pyramid"
    yield from (("block", "middle_block0"), ("attention", "middle_attention"), ("block", "middle_block1"))
    for level in range(last, -1, -1):
        for i in range(network.blocks + 1):
            yield "block", f"up{level}_block{i}"
        if has(f"up{level}_attention"):
            yield "attention", f"up{level}_attention"
        if not plain and network.progressive_output != "none":
            yield from _output_pyramid(network, level, level == last)
        if level > 0:
            yield f"{resample}_up", f"up{level}_resample"
    if has("output"):
        yield from (("norm", "output_norm"), ("convolution", "output"))


def _output_pyramid(network, level, coarsest):
    name = f"up{level}_pyramid"
    if network.progressive_output == "residual" and not coarsest:
        yield "resample_up", name
        return
    if not coarsest:
        yield "image_up", None
    yield from (("norm", f"{name}_norm"), ("convolution", name))


def _big_gan(network):
    return not isinstance(network, DDPM) and network.residual_block == "biggan"


def _class_name(network, kind):
    """Of a module in score_sde."""
    plain = isinstance(network, DDPM)
    block = "ResnetBlockBigGANpp" if _big_gan(network) else f"ResnetBlockDDPM{'' if plain else 'pp'}"
    return {
        "fourier": "GaussianFourierProjection",
        "dense": "Dense",
        "convolution": "Conv",
        "norm": "GroupNorm",
        "combine": "Combine",
        "attention": "AttnBlock" if plain else "AttnBlockpp",
        "resample_down": "Downsample",
        "image_down": "Downsample",
        "resample_up": "Upsample",
        "image_up": "Upsample",
    }.get(kind, block)


def _write(table, network, kind, ours, theirs, spelling):
    """The rows of one module."""
    dot = spelling.dot

    def layer(ours, part, layout, kernel=spelling.kernel, bias="bias"):
        names = (theirs,) if part is None else [f"{theirs}{dot}{name}" for name in part]
        table.layer(ours, names, layout, (f"{dot}{kernel}", f"{dot}{bias}"))

    def norm(ours, part):
        name = theirs if part is None else f"{theirs}{dot}{part}"
        table.add(f"{ours}/scale", f"{name}{dot}{spelling.scale}")
        table.add(f"{ours}/bias", f"{name}{dot}bias")

    def block():
        norm(f"{ours}/norm1", "GroupNorm_0")
        layer(f"{ours}/convolution1", ("Conv_0",), spelling.convolution)
        layer(f"{ours}/time", ("Dense_0",), spelling.dense)
        norm(f"{ours}/norm2", "GroupNorm_1")
        layer(f"{ours}/convolution2", ("Conv_1",), spelling.convolution)
        if _big_gan(network):
            layer(f"{ours}/shortcut", ("Conv_2",), spelling.point)
        else:
            layer(f"{ours}/shortcut", ("NIN_0",), SAME, "W", "b")

    def attention():
        norm(f"{ours}/norm", "GroupNorm_0")
        layer(f"{ours}/query_key_value", ("NIN_0", "NIN_1", "NIN_2"), SAME, "W", "b")
        layer(f"{ours}/out", ("NIN_3",), SAME, "W", "b")

    def resample():
        layer(f"{ours}/convolution", ("Conv_0",), spelling.convolution)
        # With a filter the convolution is one of StyleGAN's.
        layer(ours, ("Conv2d_0",), spelling.convolution, "weight")

    if kind in ("block", "resample_block_down", "resample_block_up"):
        block()
    elif kind == "attention":
        attention()
    elif kind in ("resample_down", "resample_up"):
        resample()
    elif kind == "norm":
        norm(ours, None)
    elif kind == "dense":
        layer(ours, None, spelling.dense)
    elif kind == "convolution":
        layer(ours, None, spelling.convolution)
    elif kind == "combine":
        layer(ours, ("Conv_0",), spelling.point)
    elif kind == "fourier":
        table.add(ours, f"{theirs}{dot}W")
