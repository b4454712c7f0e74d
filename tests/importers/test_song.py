"""Checkpoints of Song et al. (2021), of both repositories, give their outputs here."""

import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from importers import mapping, song
from models.ddpm import DDPM
from models.ncsnpp import NCSNpp
from tests.importers.published import assert_output, checkpoint, converted
from tests.models import test_ddpm, test_ncsnpp

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
