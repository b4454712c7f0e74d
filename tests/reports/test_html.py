"""A page of runs: whole, of itself, and the same text that the runs gave it."""

import math
import re

import numpy as np
import pytest

from reports import charts, html
from reports.shown import Figure, Picture, Run, by_noise_level, differing, figures, left_out
from tests.reports.page import Page

EVIL = "</script><script>alert(1)</script><img src=http://evil.example/x onerror='alert(2)'>\" & '"


def _run(name, **more):
    given = {
        "state": f"trained {name}",
        "facts": {"step": "10", name: name},
        "figures": {"bits_per_dim": Figure(2.5, error=0.1, made_with={"n": "60"}), f"nfe{name}": Figure(7.0)},
        "curves": {(f"loss{name}", "step"): [(1, 2.0), (2, 1.0)]},
        "pictures": (
            Picture("Samples", f"{name}.png", f"samples of {name}", b"\x89PNG", "image/png", (8, 8)),
        ),
        "config": {f"field{name}": name, "seed": "0"},
    }
    return Run(name, **{**given, **more})


def test_markup_in_any_text_of_a_run_stays_text():
    runs = [_run(EVIL, problems=(EVIL,)), _run("plain")]
    page = Page(html.page(EVIL, runs, [(EVIL, EVIL)], ("step", EVIL), ("Samples",), EVIL))
    assert page.wrong == []
    assert len(page.all("script")) == 1
    # The pictures of the runs, and none that a text brought.
    assert [attributes["alt"] for attributes, _ in page.all("img")] == [
        f"samples of {EVIL}",
        "samples of plain",
    ]
    assert not [name for _, attributes, _ in page.tags for name in attributes if name.startswith("on")]
    links = [text for attributes, text in page.all("a") if attributes["href"].startswith("#run-0")]
    assert set(links) == {EVIL}


def test_the_page_names_nothing_outside_itself():
    text = html.page("runs", [_run("a"), _run("b")], (), ("step",), ("Samples",), "made")
    page = Page(text)
    for tag, attributes, _ in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,")), (tag, attributes)
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttpRequest", text)
    (policy,) = [a["content"] for a, _ in page.all("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'") and "script-src 'sha256-" in policy
    identifiers = [attributes["id"] for _, attributes, _ in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {a["href"][1:] for a, _ in page.all("a")} <= set(identifiers)


def test_what_is_seen_is_also_said():
    page = Page(html.page("runs", [_run("a"), _run("b")], (), ("step",), ("Samples",), "made"))
    assert all(attributes["scope"] in ("row", "col") for attributes, _ in page.all("th"))
    named = {attributes["id"]: text for _, attributes, text in page.tags if attributes.get("id")}
    charts_shown = [attributes for attributes, _ in page.all("svg") if attributes.get("role") == "img"]
    assert len(charts_shown) == 3  # two curves and one figure
    for attributes in charts_shown:
        assert all("".join(named[name]) for name in attributes["aria-labelledby"].split())
    assert all(attributes["alt"] for attributes, _ in page.all("img"))
    (language,) = [attributes["lang"] for attributes, _ in page.all("html")]
    assert language == "en"


def test_the_rarer_value_of_a_field_is_marked_and_shared_fields_are_folded():
    runs = [
        _run(name, config={"sde.name": sde, "seed": "0"})
        for name, sde in zip("abc", ("vp", "ve", "vp"), strict=True)
    ]
    page = Page(html.page("runs", runs))
    assert [text for _, text in page.all("mark")] == ["ve"]
    assert "1 fields that all share" in [text for _, text in page.all("summary")]


def test_figures_that_were_not_measured_alike_say_so():
    few, many = (Figure(3.0, error=0.1, made_with={"n": n, "extractor": "inception"}) for n in ("50", "5000"))
    assert differing([few, many]) == {"n": ["50", "5000"]}
    unlike = html.page("runs", [Run("a", "", figures={"fid": few}), Run("b", "", figures={"fid": many})])
    alike = html.page("runs", [Run("a", "", figures={"fid": many}), Run("b", "", figures={"fid": many})])
    told = [text for _, text in Page(unlike).all("li")]
    assert " n: 50, 5000" in told and "Not measured alike in all runs: 1 figure" in unlike
    assert "Not measured alike" not in alike


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Figure(0.70381, error=0.01823), "0.704 ± 0.018"),
        (Figure(3.15, low=3.09, high=3.22), "3.150 (3.090 to 3.220)"),
        (Figure(3.15, error=0.0), "3.15"),
        (Figure(math.nan, error=0.1), "nan"),
        (Figure(1.0, error=math.inf), "1"),
        (Figure(4.3e-6, error=9.4e-6), "4.3e-06 ± 9.4e-06"),
        (Figure(123456.0, error=240.0), "123456 ± 240"),
    ],
)
def test_a_figure_has_two_digits_of_its_error(figure, text):
    assert figure.text == text


def test_figures_are_found_in_nested_dicts_of_any_form():
    measured = {
        "step": 10,
        "unit": "bits",
        "sample_quality": {
            "n": 5000,
            "extractor": {"name": "inception", "weights": {"side": 299, "digest": None}},
            "fid": {"value": 3.1, "interval": [3.0, 3.2], "standard_error_of_both": 0.3, "n_reference": 99},
            "nfe": 35,
            "runs": [
                {"name": "ema", "kid": {"value": 0.1, "standard_deviation": 0.01, "n": 50}},
                {"is": 9.0},
            ],
        },
        "two_sample": {"accuracy": 0.7, "accuracy_standard_error": 0.02, "samples": 60.0, "sharp": True},
        "config": {"seed": 0},
        "huge": 10**400,
    }
    found = figures(measured)
    said = {"unit": "bits", "n": "5000", "extractor.name": "inception", "extractor.weights.side": "299"}
    assert found["sample_quality.fid"] == Figure(3.1, None, 3.0, 3.2, {**said, "n_reference": "99"})
    assert found["sample_quality.runs.ema.kid"].error == 0.01
    assert found["sample_quality.runs.ema.kid"].made_with["n"] == "50"
    assert found["two_sample.accuracy"] == Figure(0.7, 0.02, None, None, {"unit": "bits", "n": "60"})
    assert set(found) == {
        *("step", "sample_quality.fid", "sample_quality.nfe", "sample_quality.runs.ema.kid"),
        *("sample_quality.runs.1.is", "two_sample.accuracy"),
    }


def test_what_an_evaluation_leaves_out_is_found_wherever_it_says_so():
    measured = {
        "left_out": {"bits": "a"},
        "config": {"left_out": {"none": "b"}},
        "sample_quality": {"settings": [{"figures": {"fid": {"left_out": "c"}}}, {"left_out": {"kid": "d"}}]},
    }
    assert left_out(measured) == {
        "bits": "a",
        "sample_quality.settings.0.figures.fid": "c",
        "sample_quality.settings.1.kid": "d",
    }


def test_curves_by_noise_level_follow_the_levels_above_them():
    levels = [3.0, 1.0, 2.0]
    measured = {"loss": {"log_snr": levels, "model": {"error": [0.3, 0.1, 0.2]}, "short": [1.0]}, "x": levels}
    assert by_noise_level(measured) == {("loss.model.error", "log-SNR"): [(1.0, 0.1), (2.0, 0.2), (3.0, 0.3)]}


def _points(svg):
    return np.array([p.split(",") for p in re.search(r'points="([^"]*)"', svg)[1].split()], float)


def test_a_curve_is_drawn_where_its_numbers_are():
    x = np.linspace(0, 10, 6)
    straight = _points(charts.lines("c", "t", {(0, "a"): list(zip(x, 3 * x - 1, strict=True))}, "x"))
    np.testing.assert_allclose(
        np.diff(straight, axis=0), np.tile(np.diff(straight[:2], axis=0), (5, 1)), atol=0.11
    )
    assert straight[-1, 0] > straight[0, 0] and straight[-1, 1] < straight[0, 1]  # SVG counts downwards
    # An exponential is a straight line on the logarithmic axis that it asks for.
    steep = _points(charts.lines("c", "t", {(0, "a"): list(zip(x, np.exp(x), strict=True))}, "x"))
    np.testing.assert_allclose(np.diff(steep[:, 1]), np.diff(steep[:, 1]).mean(), atol=0.11)
    constant = _points(charts.lines("c", "t", {(0, "a"): [(0, 2.0), (1, 2.0)]}, "x"))
    assert np.isfinite(constant).all()


def test_a_long_curve_is_thinned_and_keeps_its_end():
    curve = [(float(n), float(n)) for n in range(100_001)]
    drawn = _points(charts.lines("c", "t", {(0, "a"): curve}, "x"))
    assert len(drawn) <= charts.MOST_POINTS and drawn[-1, 0] == charts.WIDTH - charts.RIGHT


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3.2, 8.9), (1e-7, 3e-7), (0, 1e9), (5, 5), (1e16, 1e16 + 2)]
)
def test_ticks_are_few_and_within(low, high):
    found = charts.ticks(low, high)
    assert 1 <= len(found) <= 7
    assert all(low - 1e-9 * abs(low) <= tick <= high + 1e-9 * abs(high) for tick in found)


def test_a_hundred_runs_are_a_small_page():
    runs = [_run(f"run {number}") for number in range(100)]
    assert len(html.page("runs", runs, (), ("step",), ("Samples",))) < 1_000_000
