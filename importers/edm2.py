"""EDM2's networks (Karras et al. 2024, config G).

Their pickles hold a network within its preconditioning: `unet.` stands before the network's names, and beside
it stands the uncertainty that weighs the training, `logvar_fourier` and `logvar_linear`. Blocks are named by
the image side, as in importers/edm.py. Frequencies and phases are angles there and parts of a turn here. The
published weights are float16.
"""

from importers.edm import side
from importers.mapping import CONVOLUTION, DENSE, RADIANS, SAME, Table

__all__ = ["UNCERTAINTY", "ignored", "rows", "side"]

# Beside the network; no prediction reads them.
UNCERTAINTY = ("logvar_fourier.freqs", "logvar_fourier.phases", "logvar_linear.weight")


def rows(network, template, image_side):
    """Rows of the names in a pickle.

    Args:
      network: models.edm2.EDM2.
      template: of its parameters; or {"network": those, "uncertainty": ...}, as a run has that learns its
        uncertainty (denoiser.uncertainty).
      image_side: of the images.

    Raises:
      ValueError: the network has parameters that none of that code base has.
    """
    table = Table(template)
    beside = table.has("uncertainty")
    below = "network/" if beside else ""
    _fourier(table, f"{below}noise_fourier", "unet.emb_fourier")
    table.layer(f"{below}noise_embedding", "unet.emb_noise", DENSE)
    table.layer(f"{below}class_embedding", "unet.emb_label", DENSE)
    table.layer(f"{below}encoder_0_input", f"unet.enc.{image_side}x{image_side}_conv", CONVOLUTION)
    for ours, theirs in _blocks(network, image_side):
        _block(table, f"{below}{ours}", f"unet.{theirs}")
    table.layer(f"{below}output", "unet.out_conv", CONVOLUTION)
    table.add(f"{below}output_gain", "unet.out_gain", SAME)
    if beside:
        _fourier(table, "uncertainty/fourier", "logvar_fourier")
        table.layer("uncertainty/linear", "logvar_linear", DENSE)
    return table.finished()


def ignored(template):
    """Names that may be left over: the uncertainty, for a tree without it."""
    return () if "uncertainty" in template else UNCERTAINTY


def _blocks(network, image_side):
    """(our name, their name) of each block."""
    last = len(network.multipliers) - 1
    for level in range(last + 1):
        at = f"{image_side >> level}x{image_side >> level}"
        yield f"encoder_{level}_down", f"enc.{at}_down"
        yield from ((f"encoder_{level}_block_{i}", f"enc.{at}_block{i}") for i in range(network.blocks))
        yield f"decoder_{level}_up", f"dec.{at}_up"
        yield from ((f"decoder_{level}_input_{i}", f"dec.{at}_in{i}") for i in (0, 1))
        yield from ((f"decoder_{level}_block_{i}", f"dec.{at}_block{i}") for i in range(network.blocks + 1))


def _fourier(table, ours, theirs):
    table.add(f"{ours}/frequencies", f"{theirs}.freqs", RADIANS)
    table.add(f"{ours}/phases", f"{theirs}.phases", RADIANS)


def _block(table, ours, theirs):
    table.add(f"{ours}/embedding_gain", f"{theirs}.emb_gain", SAME)
    table.layer(f"{ours}/convolution_0", f"{theirs}.conv_res0", CONVOLUTION)
    table.layer(f"{ours}/embedding", f"{theirs}.emb_linear", DENSE)
    table.layer(f"{ours}/convolution_1", f"{theirs}.conv_res1", CONVOLUTION)
    table.layer(f"{ours}/shortcut", f"{theirs}.conv_skip", CONVOLUTION)
    table.layer(f"{ours}/attention/query_key_value", f"{theirs}.attn_qkv", CONVOLUTION)
    table.layer(f"{ours}/attention/out", f"{theirs}.attn_proj", CONVOLUTION)
