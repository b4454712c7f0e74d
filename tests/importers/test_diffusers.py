"""UNet2DModels of diffusers and DDIM's files give their outputs here, and ours go out and come back."""

import json

import jax
import numpy as np
import pytest

from importers import ddim, diffusers, mapping
from models.ddpm import DDPM
from models.ncsnpp import NCSNpp
from models.unet import UNet
from tests.importers.published import assert_output, checkpoint, converted, ruled

NETWORK = UNet(2, width=128, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.0)
NOISE = [3.0, 700.0]
# As google/ddpm-cifar10-32 has it.
CIFAR10 = {
    "_class_name": "UNet2DModel",
    "_diffusers_version": "0.0.4",
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [128, 256, 256, 256],
    "center_input_sample": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 32,
    "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}


@pytest.mark.parametrize(("family", "names"), [("diffusers", diffusers), ("ddim", ddim)])
def test_files_give_the_published_outputs(family, names):
    arrays, template = checkpoint(family, "unet"), mapping.template(NETWORK, 8, 2)
    arrays = mapping.without_prefix(arrays, "module.")
    params = converted(arrays, template, names.rows(NETWORK, template, 8))
    assert_output(family, "unet", NETWORK, params, NOISE)


def test_a_config_names_the_network_and_the_network_its_config():
    found = diffusers.architecture(CIFAR10)
    network = UNet(3, 128, (1, 2, 2, 2), 2, (16,), dropout=0.0)
    assert found == (network, 32, 3)
    written = json.loads(json.dumps(diffusers.config_of(network, 32, 3)))
    assert {key: written[key] for key in CIFAR10 if key in written} == {
        key: value for key, value in CIFAR10.items() if key != "_diffusers_version"
    }
    assert diffusers.architecture(written) == found


@pytest.mark.parametrize("recentre", [False, True])
def test_a_ddpm_goes_out_with_attentions_of_zeros_and_comes_back(recentre):
    network = DDPM(2, width=32, multipliers=(1, 2), blocks=1, attention=(4,), recentre=recentre)
    template = mapping.template(network, 8, 2)
    rows = diffusers.rows(network, template, 8)
    params = jax.tree_util.tree_map_with_path(lambda path, leaf: ruled(str(path), leaf.shape), template)
    arrays = mapping.export(params, rows)
    assert set(arrays) == set(checkpoint("diffusers", "unet"))
    assert not any(array.any() for name, array in arrays.items() if "up_blocks.0.attentions.0." in name)
    config = diffusers.config_of(network, 8, 2)
    assert diffusers.architecture(config, arrays) == (network, 8, 2)
    found = mapping.convert(arrays, template, rows)
    jax.tree.map(np.testing.assert_array_equal, found.params, params)
    arrays["up_blocks.0.attentions.0.to_q.bias"][0] = 1
    ((name, fault),) = mapping.convert(arrays, template, rows).unfit
    assert name == "up_blocks.0.attentions.0.to_q.bias" and fault.startswith("not zero")


def test_old_names_of_attention_are_those_of_today():
    arrays = checkpoint("diffusers", "unet")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def aged(name):
        for new, then in old.items():
            name = name.replace(f".{new}.", f".{then}.")
        return name

    assert list(diffusers.renamed({aged(name): 0 for name in arrays})) == list(arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flip_sin_to_cos": True}, "flip_sin_to_cos=True"),
        ({"attention_head_dim": 8}, "attention_head_dim=8"),
        ({"norm_eps": 1e-5}, "norm_eps"),
        ({"down_block_types": ["SkipDownBlock2D"] * 4}, "down_block_types"),
        ({"up_block_types": ["UpBlock2D"] * 4}, "up_block_types"),
        ({"block_out_channels": [128, 192, 256, 256]}, "block_out_channels"),
        ({"block_out_channels": [64, 128, 128, 128]}, "block_out_channels"),
        ({"center_input_sample": True}, "center_input_sample"),
        ({"sample_size": [32, 64]}, "sample_size"),
        ({"time_embedding_dim": 100}, "time_embedding_dim=100"),
        ({"_class_name": "UNet2DConditionModel"}, "_class_name"),
        ({"surprise": 1}, "surprise"),
        ({"sample_size": None}, "sample_size=None is not what belongs there"),
        ({"block_out_channels": 128}, "block_out_channels=128 is not"),
        ({"block_out_channels": [0, 0, 0, 0]}, "block_out_channels"),
        ({"layers_per_block": [2]}, "layers_per_block"),
        ({"up_block_types": [{}] * 4}, "up_block_types"),
        ({"dropout": "0"}, "dropout"),
    ],
)
def test_what_no_network_computes_is_refused_by_its_key(change, message):
    with pytest.raises(ValueError, match=message):
        diffusers.architecture(CIFAR10 | change)


@pytest.mark.parametrize(
    ("network", "side", "message"),
    [
        (DDPM(3, time_embedding="none"), 32, "time_embedding"),
        (DDPM(3, resample_with_convolution=False), 32, "resample_with_convolution"),
        (DDPM(3, multipliers=(2, 2)), 32, "multipliers"),
        (UNet(3, width=64), 32, "width=64"),
        (DDPM(3), 36, "side 36"),
        (UNet(3, attention=()), 32, "attention"),
        (NCSNpp(3), 32, "NCSNpp is no UNet2DModel"),
    ],
)
def test_what_diffusers_cannot_compute_is_refused_by_its_field(network, side, message):
    with pytest.raises(ValueError, match=message):
        diffusers.config_of(network, side, 3)
