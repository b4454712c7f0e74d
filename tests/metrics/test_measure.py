"""The table of metrics: what each needs is asked for by name, and what is missing is named."""

import numpy as np
import pytest

from metrics import METRICS, FeatureSet, measure
from metrics.frechet import moments

RNG = np.random.default_rng(0)


def _set(count, shift=0.0, **more):
    features = shift + RNG.standard_normal((count, 3))
    return FeatureSet(features, logits=RNG.standard_normal((count, 5)), spatial=features * 2, **more)


def test_all_metrics_have_a_value_an_interval_around_it_and_the_number_of_examples():
    names = [name for name in METRICS if name != "fd_dinov2"]
    found = measure(names, _set(250, extractor="inception"), _set(240, 0.2, extractor="inception"))
    several = {"precision", "recall", "density", "coverage"}
    expected = {name for name in names if name not in ("precision_recall", "density_coverage")} | several
    assert set(found) == expected
    for entry in found.values():
        assert entry["n"] == 240
        assert entry["interval"][0] <= entry["value"] <= entry["interval"][1]
    assert found["sfid"]["value"] == pytest.approx(4 * found["fid"]["value"])
    assert found["fid"]["standard_error_of_both"] > found["fid"]["standard_error"]


def test_moments_suffice_for_the_frechet_distance_and_give_the_same():
    real, generated = _set(100), _set(90, 0.3)
    full = measure(["fid"], real, generated)["fid"]
    known = measure(["fid"], FeatureSet(moments=moments(real.features)), generated)["fid"]
    assert known["value"] == pytest.approx(full["value"], abs=1e-12) and known["n_reference"] == 100
    assert known["standard_error"] == pytest.approx(full["standard_error"])
    assert "standard_error_of_both" not in known
    bare = measure(["fid"], FeatureSet(moments=real.statistics), FeatureSet(moments=generated.statistics))
    assert bare["fid"]["value"] == pytest.approx(full["value"], abs=1e-9) and "interval" not in bare["fid"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_set_and_number(value):
    good, bad = RNG.standard_normal((2, 60, 3))
    bad[[4, 9]] = value
    logits = np.where(np.arange(60)[:, None] == 7, value, np.ones((60, 5)))
    known = moments(good)
    known.mean[1] = value
    for name in ("fid", "fid_infinity", "kid", "precision_recall", "density_coverage", "memorization"):
        with pytest.raises(ValueError, match="of the generated examples, 2 of 60 rows of features"):
            measure([name], FeatureSet(good), FeatureSet(bad))
        with pytest.raises(ValueError, match="of the reference, 2 of 60 rows of features"):
            measure([name], FeatureSet(bad), FeatureSet(good))
    with pytest.raises(ValueError, match="of the generated examples, 2 of 60 rows of spatial"):
        measure(["sfid"], FeatureSet(spatial=good), FeatureSet(spatial=bad))
    with pytest.raises(ValueError, match="of the generated examples, 1 of 60 rows of logits"):
        measure(["inception_score"], FeatureSet(good), FeatureSet(good, logits=logits))
    with pytest.raises(ValueError, match="of the reference, the moments have NaN or infinite"):
        measure(["fid"], FeatureSet(moments=known), FeatureSet(good))
    # What no metric reads stops none.
    measure(["kid"], FeatureSet(good), FeatureSet(good, logits=logits))


@pytest.mark.parametrize(
    ("name", "reference", "generated", "reason"),
    [
        (
            "kid",
            FeatureSet(moments=moments(np.eye(3))),
            FeatureSet(np.eye(3)),
            "takes features of the reference",
        ),
        ("inception_score", FeatureSet(), FeatureSet(np.eye(3)), "takes logits of the generated examples"),
        ("sfid", FeatureSet(np.eye(3)), FeatureSet(np.eye(3)), "takes spatial moments of the reference"),
        ("memorization", FeatureSet(np.eye(60)), FeatureSet(np.eye(60)[:9]), "51 examples of each set"),
        ("fd_dinov2", *[FeatureSet(np.eye(3), extractor="inception")] * 2, "takes features of dinov2"),
        (
            "frechet_distance",
            FeatureSet(np.eye(3), extractor="pixels"),
            FeatureSet(np.eye(3), extractor="inception"),
            "features of pixels and of inception are not compared",
        ),
    ],
)
def test_what_is_missing_is_named(name, reference, generated, reason):
    entry = measure([name], reference, generated)[name]
    assert list(entry) == ["left_out"] and reason in entry["left_out"]


def test_a_name_that_is_no_metric_is_refused():
    with pytest.raises(ValueError, match="no metric fdi; there are fid"):
        measure(["fdi"], FeatureSet(), FeatureSet())
