"""Files of NCSN and NCSNv2 (Song & Ermon 2019, 2020) give their outputs here."""

import pytest

from importers import mapping, ncsn
from tests.importers.published import assert_output, checkpoint, converted
from tests.models.test_refinenet import CASES, LEVELS


@pytest.mark.parametrize("case", CASES)
def test_files_give_the_published_outputs(case):
    network, side, channels, _ = CASES[case]
    template = mapping.template(network, side, channels)
    arrays = mapping.without_prefix(checkpoint("ncsn", case), "module.")
    params = converted(arrays, template, ncsn.rows(network, template), ncsn.IGNORED)
    assert_output("ncsn", case, network, params, LEVELS, channels=channels, side=side)
