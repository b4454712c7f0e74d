"""Pickled networks of EDM (Karras et al. 2022) give their outputs here."""

import numpy as np
import pytest

from importers import edm, mapping
from tests.importers.published import assert_output, checkpoint, converted, inputs
from tests.models import test_dhariwal_unet, test_song_unet

CASES = {case: (network, [-1.2, 0.7], more) for case, (network, more) in test_song_unet.CASES.items()}
CASES["dhariwal"] = test_dhariwal_unet.CASES["published"]


@pytest.mark.parametrize("case", CASES)
def test_pickled_networks_give_the_published_outputs(case):
    network, noise, more = CASES[case]
    arrays = checkpoint("edm", case)
    assert edm.side(arrays) == 8
    arrays = mapping.without_prefix(arrays, "model.")
    template = mapping.template(network, 8, 2)
    params = converted(arrays, template, edm.rows(network, template, 8), edm.ignored(arrays))
    told = {"label": np.array(more["label"])} if "label" in more else {}
    if more.get("told"):
        told["augmentation"] = inputs()[1].astype(np.float32)
    assert_output("edm", case, network, params, noise, **told)


def test_a_network_of_another_side_has_other_names():
    network = CASES["ddpmpp"][0]
    arrays = mapping.without_prefix(checkpoint("edm", "ddpmpp"), "model.")
    template = mapping.template(network, 8, 2)
    found = mapping.convert(arrays, template, edm.rows(network, template, 16), edm.ignored(arrays))
    assert ("enc.16x16_conv.weight", (16, 2, 3, 3)) in found.missing and found.params is None
    assert edm.side({"unet.enc.8x8_conv.weight": 0}) is None
