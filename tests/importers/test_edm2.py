"""Pickled networks of EDM2 (Karras et al. 2024) give their outputs here."""

import jax
import numpy as np
import pytest

from denoisers.uncertainty import WithUncertainty
from importers import edm2, mapping
from models.edm2 import EDM2
from tests.importers.published import GOLDEN, assert_output, checkpoint, converted
from tests.models.test_edm2 import GOLDEN_CASES

NOISE = [-1.5, 0.9]


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_pickled_networks_give_the_published_outputs(case):
    fields, _, side, channels, classes = GOLDEN_CASES[case]
    network = EDM2(channels=channels, classes=classes, **fields)
    arrays, template = checkpoint("edm2", case), mapping.template(network, side, channels)
    params = converted(arrays, template, edm2.rows(network, template, side), edm2.ignored(template))
    told = {"label": np.array([1, 3])} if classes else {}
    assert_output("edm2", case, network, params, NOISE, channels=channels, side=side, **told)


def test_the_uncertainty_is_taken_where_a_run_has_one():
    fields, _, side, channels, classes = GOLDEN_CASES["classes"]
    network = EDM2(channels=channels, classes=classes, **fields)
    both = WithUncertainty(network)
    template = mapping.template(both, side, channels)
    assert not edm2.ignored(template)
    params = converted(checkpoint("edm2", "classes"), template, edm2.rows(network, template, side))
    found = both.apply({"params": params}, np.float32(NOISE), method="log_variance")
    np.testing.assert_allclose(found, np.load(GOLDEN / "edm2.npz")["uncertainty/output"], rtol=1e-4)


def test_halves_become_float32_exactly():
    fields, _, side, channels, classes = GOLDEN_CASES["no_classes"]
    network = EDM2(channels=channels, classes=classes, **fields)
    template = mapping.template(network, side, channels)
    halves = {name: array.astype(np.float16) for name, array in checkpoint("edm2", "no_classes").items()}
    found = mapping.convert(halves, template, edm2.rows(network, template, side), edm2.ignored(template))
    assert found.complete and {leaf.dtype for leaf in jax.tree.leaves(found.params)} == {np.dtype("float32")}
    np.testing.assert_array_equal(
        found.params["output"]["kernel"][..., 0, 0].T, halves["unet.out_conv.weight"][0, 0].T
    )
