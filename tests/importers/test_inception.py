"""FID's Inception-v3 from arrays in both manners of naming, against outputs of torch-fidelity's module.

golden/inception.npz holds what torch-fidelity 0.3.0's FeatureExtractorInceptionV3 gives for the weights of
random_inception.py and two images of 80x96, with its resizing taken out.
"""

import os
from pathlib import Path

import flax
import jax
import numpy as np
import pytest

from evaluation.features import _shapes
from importers import inception
from importers.refusal import Refusal, RefusedFile
from metrics.features.inception_v3 import InceptionV3
from tests.importers.random_inception import random_state

GOLDEN = Path(__file__).parent / "golden" / "inception.npz"


@pytest.fixture(scope="module")
def state():
    """A state_dict in torchvision's names, as .pth files have it."""
    shapes = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    for name in inception.LAYERS:
        rows, columns, inputs, outputs = _shapes()[f"{name}/kernel"]
        name = name.replace("/", ".")
        shapes[f"{name}.conv.weight"] = (outputs, inputs, rows, columns)
        norm = ("weight", "bias", "running_mean", "running_var")
        shapes.update({f"{name}.bn.{part}": (outputs,) for part in norm})
    return random_state(shapes)


def test_the_network_gives_what_torch_fidelity_s_does(state):
    parameters, classes = inception.converted(state, _shapes())
    images = np.random.default_rng(1).integers(0, 256, (2, 80, 96, 3), dtype=np.uint8)
    params = {"params": flax.traverse_util.unflatten_dict(parameters, sep="/")}
    taps = jax.jit(InceptionV3(classes).apply)(params, (np.float32(images) - 128) / 128)
    with np.load(GOLDEN) as golden:
        assert set(golden) == set(taps) - {"spatial"}
        for name, expected in golden.items():
            np.testing.assert_allclose(taps[name], expected, atol=1e-5 * np.abs(expected).max(), err_msg=name)


def test_both_manners_of_naming_give_the_same(state):
    renamed = {"net.output.weight": state["fc.weight"], "net.output.bias": state["fc.bias"]}
    parts = {"bn.bias": "beta", "bn.running_mean": "mean", "bn.running_var": "var", "conv.weight": "weight"}
    plain = {}
    for ours, theirs in inception.LAYERS.items():
        ours = ours.replace("/", ".")
        plain[f"{ours}.bn.weight"] = np.ones_like(state[f"{ours}.bn.weight"])
        for part, their_part in parts.items():
            plain[f"{ours}.{part}"] = renamed[f"net.layers.{theirs}.{their_part}"] = state[f"{ours}.{part}"]
    plain |= {name: state[name] for name in ("fc.weight", "fc.bias")}
    found = [inception.converted(arrays, _shapes())[0] for arrays in (plain, renamed)]
    assert found[0].keys() == found[1].keys()
    assert all((found[0][name] == found[1][name]).all() for name in found[0])


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("Mixed_6c.branch7x7_2.bn.bias", None, "the shift of Mixed_6c/branch7x7_2 is missing"),
        ("Mixed_7c.branch_pool.conv.weight", np.zeros((192, 2048, 3, 3), np.float32), "must be numbers of"),
        ("Conv2d_3b_1x1.bn.running_var", np.full(80, -1.0, np.float32), "below zero"),
        ("Conv2d_3b_1x1.bn.running_mean", np.full(80, np.nan, np.float32), "is not finite"),
        ("fc.weight", np.zeros((1000, 512), np.float32), "the last layer"),
    ],
)
def test_other_weights_are_refused_by_the_layer_s_name(state, name, array, reason):
    changed = {**state, name: array} if array is not None else {k: v for k, v in state.items() if k != name}
    with pytest.raises(Refusal, match=reason):
        inception.converted(changed, _shapes())


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(RefusedFile, match="no such file"):
        inception.read(path, _shapes())
    path.write_bytes(b"\x80\x02}.")
    with pytest.raises(RefusedFile, match="holds nothing"):
        inception.read(path, _shapes())


VECTOR = os.environ.get("INCEPTION_TEST_VECTOR")


@pytest.mark.skipif(inception.packaged() is None, reason="the weights that `make fid` installs are not there")
@pytest.mark.skipif(VECTOR is None, reason="INCEPTION_TEST_VECTOR names no .npz with image and features")
def test_the_packaged_weights_give_the_recorded_features():
    from configs import base
    from evaluation.features import create_extractor

    settings = base.get_config().eval.features
    settings.resize = "none"
    with np.load(VECTOR) as vector:
        found = create_extractor(settings).features(vector["image"][None], 1)["features"]
        np.testing.assert_allclose(found[0], vector["features"].ravel(), atol=1e-5)
