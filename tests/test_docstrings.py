"""The examples in docstrings run, and every public entry has one."""

import doctest
import importlib

import pytest

# module: public entries whose docstring shows an example; "" is the module's own
ENTRIES = {
    "components": ("",),
    "data.create": ("create",),
    "data.transforms": ("Transform",),
    "denoisers.gaussian_mixture": ("GaussianMixture",),
    "denoisers.network": ("create",),
    "evaluation.features": ("create_extractor",),
    "evaluation.reference": ("reference",),
    "experiment.create": ("create",),
    "experiment.load": ("load",),
    "importers.inception": ("folded",),
    "importers.modules": ("state_dict",),
    "importers.safetensors": ("",),
    "importers.unpickling": ("",),
    "likelihood.bounds": ("discrete_bound",),
    "likelihood.encoding": ("encode",),
    "likelihood.exact": ("log_likelihood",),
    "losses": ("create",),
    "metrics": ("measure",),
    "metrics.features.pixels": ("Pixels",),
    "metrics.features.principal_components": ("PrincipalComponents.fitted",),
    "metrics.frechet": ("frechet_distance",),
    "metrics.two_samples": ("two_sample",),
    "models": ("create",),
    "parallel.chips": ("has_slice",),
    "parallel.program_text": ("collectives",),
    "parallel.roofline": ("roofline", "rounded", "sent"),
    "reports.charts": ("ticks",),
    "reports.html": ("page",),
    "reports.shown": ("figures",),
    "samplers.create": ("create",),
    "sde_lib": ("create",),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_the_examples_of_a_module_run(name):
    module = importlib.import_module(name)
    found = {test.name.removeprefix(name).lstrip("."): test for test in doctest.DocTestFinder().find(module)}
    for entry in ENTRIES[name]:
        assert found[entry].examples, f"{name}.{entry} shows no example"
    results = [doctest.DocTestRunner().run(test) for test in found.values() if test.examples]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0
