"""OpenAI's improved-diffusion (Nichol & Dhariwal 2021) and guided-diffusion (Dhariwal & Nichol 2021).

A file is the state of one `UNetModel`, or of one `EncoderUNetModel` (the classifiers): the way down is a list
`input_blocks`, the way up a list `output_blocks`, and an entry of them is a list of a residual block, the
attention after it and what doubles the image. Analytic-DPM's checkpoints of CIFAR-10 and ImageNet (Bao et al.
2022) are of improved-diffusion's network, with the same names below `eps_model`; for those of CelebA and LSUN
see importers/ddim.py.

Extended-Analytic-DPM (Bao et al. 2022b) put a second head, `out2`, onto that network: with a residual block
it reads the embedding of the network below, where our branch embeds the noise level itself, so
that its weights have no place here, and `refusal` says so.
"""

from importers.mapping import CONVOLUTION, DENSE, POINT, POINT_1D, Table, part
from importers.refusal import shown
from models.adm_classifier import ADMClassifier

SECOND_HEADS = ("out2.", "norm_out2.", "conv_out2.", "before_out.")


def rows(network, template):
    """Rows of the names in a file.

    Args:
      network: models.adm.ADM or models.adm_classifier.ADMClassifier.
      template: of its parameters.

    Raises:
      ValueError: the network has parameters that none of that code base has.
    """
    table = Table(template)
    table.layer("time_0", "time_embed.0", DENSE)
    table.layer("time_1", "time_embed.2", DENSE)
    table.add("label/classes/kernel", "label_emb.weight")
    _way_down(table, network)
    _block(table, "middle_block_0", "middle_block.0")
    _attention(table, "middle_attention", "middle_block.1")
    _block(table, "middle_block_1", "middle_block.2")
    table.norm("output_norm", "out.0")
    if isinstance(network, ADMClassifier):
        table.add("pooling/places", "out.2.positional_embedding", DENSE)
        table.layer("pooling/query_key_value", "out.2.qkv_proj", POINT_1D)
        table.layer("pooling/out", "out.2.c_proj", POINT_1D)
    else:
        _way_up(table, network)
        table.layer("output", "out.2", CONVOLUTION)
    return table.finished()


def analytic_dpm_weights(checkpoint):
    """(parameters, averages), each {name: array}, of a checkpoint of Analytic-DPM.

    Args:
      checkpoint: {"models_states": {"eps_model": {name: array}}, "ema_models_states": the same, ...}.

    Raises:
      ValueError: a part is not there.
    """
    return tuple(part(checkpoint, states, "eps_model") for states in ("models_states", "ema_models_states"))


def refusal(arrays):
    """Why no network here is that of a file, from its names; or None."""
    heads = sorted(name for name in arrays if name.startswith(SECOND_HEADS))
    if heads:
        return (
            f"it has a second head, {shown(heads[0])}: a network of Extended-Analytic-DPM, whose head reads "
            "what no network here hands to one. Import the network that it stands on, and train a head on it "
            "(denoiser.variance_head, training.network_from)."
        )
    return None


def _way_down(table, network):
    table.layer("input", "input_blocks.0.0", CONVOLUTION)
    number = 1
    for level in range(len(network.multipliers)):
        if level > 0:
            _resample(table, f"down_{level}_resample", f"input_blocks.{number}.0", "op")
            number += 1
        for i in range(network.blocks):
            _block(table, f"down_{level}_block_{i}", f"input_blocks.{number}.0")
            _attention(table, f"down_{level}_attention_{i}", f"input_blocks.{number}.1")
            number += 1


def _way_up(table, network):
    number = 0
    for level in range(len(network.multipliers) - 1, -1, -1):
        for i in range(network.blocks + 1):
            attention = f"up_{level}_attention_{i}"
            _block(table, f"up_{level}_block_{i}", f"output_blocks.{number}.0")
            _attention(table, attention, f"output_blocks.{number}.1")
            if level > 0 and i == network.blocks:
                place = 2 if table.has(attention) else 1
                _resample(table, f"up_{level}_resample", f"output_blocks.{number}.{place}", "conv")
            number += 1


def _resample(table, ours, theirs, convolution):
    """A residual block, a convolution below the given name, or nothing."""
    if table.has(f"{ours}/norm_0"):
        _block(table, ours, theirs)
    else:
        table.layer(ours, f"{theirs}.{convolution}", CONVOLUTION)


def _block(table, ours, theirs):
    table.norm(f"{ours}/norm_0", f"{theirs}.in_layers.0")
    table.layer(f"{ours}/conv_0", f"{theirs}.in_layers.2", CONVOLUTION)
    table.layer(f"{ours}/time", f"{theirs}.emb_layers.1", DENSE)
    table.norm(f"{ours}/norm_1", f"{theirs}.out_layers.0")
    table.layer(f"{ours}/conv_1", f"{theirs}.out_layers.3", CONVOLUTION)
    table.layer(f"{ours}/shortcut", f"{theirs}.skip_connection", POINT)


def _attention(table, ours, theirs):
    # The order of the outputs, heads and which of the three, is the field attention_order of the network.
    table.norm(f"{ours}/norm", f"{theirs}.norm")
    table.layer(f"{ours}/query_key_value", f"{theirs}.qkv", POINT_1D)
    table.layer(f"{ours}/out", f"{theirs}.proj_out", POINT_1D)
