"""Files of improved-diffusion and guided-diffusion give their outputs here, the classifiers' too."""

import numpy as np
import pytest

from importers import adm, mapping
from tests.importers.published import assert_output, checkpoint, converted
from tests.models.test_adm import CASES


@pytest.mark.parametrize("case", CASES)
def test_files_give_the_published_outputs(case):
    network, noise, label = CASES[case]
    template = mapping.template(network, 8, 2)
    arrays = checkpoint("adm", case)
    assert adm.refusal(arrays) is None
    params = converted(arrays, template, adm.rows(network, template))
    told = {} if label is None else {"label": np.array(label)}
    assert_output("adm", case, network, params, noise, **told)


@pytest.mark.parametrize("name", ["out2.0.weight", "conv_out2.bias"])
def test_a_second_head_is_refused_by_name(name):
    assert name in adm.refusal({"out.0.weight": np.ones(3), name: np.ones(3)})


def test_analytic_dpm_has_parameters_and_averages_of_its_noise_model():
    checkpoint = {
        "it": 1,
        "models_states": {"eps_model": {"a": 1}},
        "ema_models_states": {"eps_model": {"a": 2}},
    }
    assert adm.analytic_dpm_weights(checkpoint) == ({"a": 1}, {"a": 2})
    with pytest.raises(ValueError, match=r"no ema_models_states\.eps_model in"):
        adm.analytic_dpm_weights(checkpoint | {"ema_models_states": None})
