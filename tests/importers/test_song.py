"""Checkpoints of Song et al. (2021), of both repositories, give their outputs here."""

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from importers import checkpoint as checkpoint_file
from importers import mapping, song
from models.ddpm import DDPM
from models.ncsnpp import NCSNpp
from tests.importers.published import assert_output, checkpoint, converted
from tests.models import test_ddpm, test_ncsnpp
from tests.modes.published_files import Tensors, zip_file

MEANS = {"resample_with_convolution": False, "recentre": True}
PLAIN = {"ddpm": {}, "ddpm_means": MEANS}
PYTORCH = {case: DDPM(**test_ddpm.TINY, **fields) for case, fields in PLAIN.items()} | {
    case: NCSNpp(**test_ncsnpp.TINY, **test_ncsnpp.CASES[case])
    for case in ("ddpmpp", "ncsnpp", "ncsnpp_256", "cat")
}
FLAX = {f"ddpm_{case}": DDPM(**test_ddpm.TINY, **fields) for case, fields in test_ddpm.CASES.items()} | {
    case: NCSNpp(**test_ncsnpp.TINY, **fields) for case, fields in test_ncsnpp.CASES.items()
}


def _noise(network):
    return np.log([0.02, 30.0]) if network.time_embedding == "fourier" else (3.0, 700.0)


@pytest.mark.parametrize("case", PYTORCH)
def test_pytorch_checkpoints_give_the_published_outputs(case):
    network, template = PYTORCH[case], mapping.template(PYTORCH[case], 8, 2)
    arrays = mapping.without_prefix(checkpoint("song_pytorch", case), "module.")
    params = converted(arrays, template, song.pytorch_rows(network, template), song.IGNORED)
    assert_output("song_pytorch", case, network, params, _noise(network))


@pytest.mark.parametrize("case", FLAX)
def test_flax_checkpoints_give_the_published_outputs(case):
    network, template = FLAX[case], mapping.template(FLAX[case], 8, 2)
    arrays = song.flax_names(unflatten_dict(checkpoint("song_flax", case), sep="/"))
    params = converted(arrays, template, song.flax_rows(network, template))
    assert_output("song_flax", case, network, params, _noise(network))


def test_averages_have_the_order_of_the_parameters_that_are_trained():
    model = checkpoint("song_pytorch", "ncsnpp")
    trained = [name for name in model if name not in ("module.sigmas", "module.all_modules.0.W")]
    averages = song.pytorch_average(model, [model[name] + 1 for name in trained])
    assert list(averages) == [name.removeprefix("module.") for name in model]
    for name, array in model.items():
        np.testing.assert_array_equal(averages[name.removeprefix("module.")], array + (name in trained))


def test_averages_that_do_not_fit_are_refused():
    model = {"module.sigmas": np.ones(3), "module.a.weight": np.ones((2, 2)), "module.a.bias": np.ones(2)}
    with pytest.raises(ValueError, match=r"1 averages .* 2 parameters"):
        song.pytorch_average(model, [np.ones((2, 2))])
    with pytest.raises(ValueError, match="a.bias has the shape"):
        song.pytorch_average(model, [np.ones((2, 2)), np.ones(3)])


def test_both_kinds_of_checkpoints_hold_parameters_and_averages():
    model = {"module.a.weight": np.zeros(2), "module.sigmas": np.zeros(3)}
    found = song.pytorch_weights({"step": 1, "model": model, "ema": {"shadow_params": [np.ones(2)]}})
    assert [tree["a.weight"].sum() for tree in found] == [0, 2] and all("sigmas" in tree for tree in found)
    state = {
        "optimizer": {"target": {"params": {"Conv_0": {"bias": 1}}}},
        "params_ema": {"Conv_0": {"bias": 2}},
    }
    assert song.flax_weights(state) == ({"Conv_0/bias": 1}, {"Conv_0/bias": 2})
    with pytest.raises(ValueError, match=r"no ema\.shadow_params"):
        song.pytorch_weights({"model": model, "ema": {}})
    with pytest.raises(ValueError, match="no optimizer in"):
        song.flax_weights({"params_ema": {}})


def test_modules_that_are_numbered_together_are_counted_by_class():
    # As flax.deprecated.nn numbered them: Conv_0, Dense_1.
    block = {"GroupNorm_0": {"scale": 1}, "Conv_1": {"kernel": 2}, "GroupNorm_2": {"scale": 3}}
    level = {"Dense_0": {"kernel": 0}, "Dense_1": {"kernel": 1}, "Conv_2": {"kernel": 2}, "Block_3": block}
    assert song.flax_names(level | {"Dense_10": {"kernel": 10}}) == {
        "Dense_0/kernel": 0,
        "Dense_1/kernel": 1,
        "Dense_2/kernel": 10,
        "Conv_0/kernel": 2,
        "Block_0/GroupNorm_0/scale": 1,
        "Block_0/GroupNorm_1/scale": 3,
        "Block_0/Conv_0/kernel": 2,
    }
    # As they are now: a missing one stays missing.
    assert set(song.flax_names({"A_0": {"b": 0}, "B_0": {"b": 1}, "B_2": {"b": 2}})) == {
        "A_0/b",
        "B_0/b",
        "B_2/b",
    }


def _unconditional(case):
    """A network of score_sde_pytorch that is not told the noise level, and all arrays of its file.

    Its code makes in every block the dense layer for the embedded noise level, Dense_0, and for Fourier
    features their frequencies, first of all modules; with config.model.conditional=False neither is read.
    """
    network = NCSNpp(**test_ncsnpp.TINY, **{**test_ncsnpp.CASES[case], "time_embedding": "none"})
    template, generator = mapping.template(network, 8, 2), np.random.default_rng(1)
    params = jax.tree.map(lambda a: generator.standard_normal(a.shape).astype(np.float32) / 5, template)
    arrays = mapping.export(params, song.pytorch_rows(network, template))
    unread = {}
    for name, array in arrays.items():
        if name.endswith(".Conv_0.bias") and f"{name.removesuffix('Conv_0.bias')}GroupNorm_1.bias" in arrays:
            block = name.removesuffix("Conv_0.bias")
            unread[f"{block}Dense_0.weight"] = np.ones((*array.shape, 4 * network.width), np.float32)
            unread[f"{block}Dense_0.bias"] = np.ones(array.shape, np.float32)
    arrays |= unread
    if test_ncsnpp.CASES[case].get("time_embedding") == "fourier":
        shifted = {}
        for name, array in arrays.items():
            _, number, rest = name.split(".", 2)
            shifted[f"all_modules.{int(number) + 1}.{rest}"] = array
        arrays = {"all_modules.0.W": np.ones(network.width, np.float32), **shifted}
    return network, template, params, arrays


@pytest.mark.parametrize("case", ["ddpmpp", "ncsnpp_256", "cat"])
def test_what_an_unconditional_network_never_reads_is_left_out_and_told(tmp_path, case):
    network, template, params, arrays = _unconditional(case)
    tensors = Tensors()
    trained = [array for name, array in arrays.items() if name != "all_modules.0.W"]
    thing = {
        "model": tensors.of({"sigmas": np.ones(3, np.float32), **arrays}, "module."),
        "ema": {"shadow_params": tensors.listed(array + 1 for array in trained)},
        "step": 3,
    }
    (tmp_path / "x.pth").write_bytes(zip_file(thing, tensors.storages))
    found = checkpoint_file.read(tmp_path / "x.pth")
    rows = song.pytorch_rows(network, template)
    for read, more in ((found.parameters, 0), (found.averages[""], 1)):
        ours = converted(read, template, rows, song.IGNORED)
        jax.tree.map(lambda a, b, more=more: np.testing.assert_array_equal(a, b + more), ours, params)
    (note,) = found.notes
    assert "not told the noise level" in note and "Dense_0" in note


def test_a_layer_of_another_shape_is_no_part_of_an_unconditional_network_and_stays():
    network, template, _, arrays = _unconditional("ddpmpp")
    left = [name for name in arrays if ".Dense_0." in name]
    assert song.unread(arrays) == left and len(left) > 4
    wider = arrays | {left[0]: np.ones((16, 4 * network.width + 1), np.float32)}
    assert song.unread(wider) == left[1:]
    kept = song.without(wider, left[1:])
    found = mapping.convert(kept, template, song.pytorch_rows(network, template))
    assert [name for name, _ in found.unused] == left[:1]
    # A network that is told reads them: its first layer is dense.
    for case in PYTORCH:
        assert song.unread(mapping.without_prefix(checkpoint("song_pytorch", case), "module.")) == []
