"""The page in a real browser: it loads alone, sorts, filters, and fits a phone."""

import pytest

from reports import html
from reports.shown import Figure, Run
from tests.reports.browser import Browser, installed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not installed(), reason="no Chromium is installed; the variable CHROMIUM may hold the path of one"
    ),
]
EVIL = "<img src=http://evil.example/x onerror='document.title=1'>"
NAMES = """Array.from(document.querySelectorAll("#figures table")[0].tBodies[0].rows,
  row => row.cells[0].textContent.trim())"""
VISIBLE = """Array.from(document.querySelectorAll("#runs tbody tr")).filter(row => row.offsetParent !== null)
  .map(row => row.cells[0].textContent.trim())"""


def _page(path):
    values = {"ten": 10.0, "nine": 9.0, "minus one": -1.0, EVIL: 100.0}
    runs = [
        Run(
            name,
            "trained",
            figures={"fid": Figure(value, error=0.5)},
            curves={("loss", "step"): [(0, value), (1, 2.0)]},
        )
        for name, value in values.items()
    ]
    runs.append(Run("none", "stopped", figures={"kid": Figure(1.0, error=0.1)}))
    path.write_text(html.page("runs", runs), encoding="utf-8")
    return path


def test_the_page_works_in_a_browser(tmp_path):
    path = _page(tmp_path / "report.html")
    with Browser(installed()) as browser:
        browser.open(path, width=390)
        assert browser.evaluate("document.title") == "runs"
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        # By the keyboard: a number sorts as a number, and a run without the figure stands last both ways.
        focus = 'document.querySelectorAll("#figures th button")[1].focus()'
        browser.evaluate(focus)
        browser.press("Enter")
        assert browser.evaluate(NAMES) == ["minus one", "nine", "ten", EVIL, "none"]
        browser.press(" ")
        assert browser.evaluate(NAMES) == [EVIL, "ten", "nine", "minus one", "none"]
        heads = 'Array.from(document.querySelectorAll("#figures th[aria-sort]"), head => head.ariaSort)'
        assert browser.evaluate(heads) == ["descending"]
        browser.evaluate('field.value = "NINE"; field.dispatchEvent(new Event("input"))')
        assert browser.evaluate(VISIBLE) == ["nine"]
        browser.open(path, width=1300)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 1300
        assert browser.evaluate(VISIBLE) == ["ten", "nine", "minus one", EVIL, "none"]
        assert browser.errors == []
        assert set(browser.requests) == {path.as_uri()}


def test_the_browser_of_these_tests_sees_errors_and_requests(tmp_path):
    # What the test above does not find must be there to be found.
    path = tmp_path / "bad.html"
    path.write_text(
        "<img src='http://127.0.0.1:9/x.png'><script>console.error('one'); throw Error('two')</script>"
    )
    with Browser(installed()) as browser:
        browser.open(path, width=390)
        assert "http://127.0.0.1:9/x.png" in browser.requests
        assert len(browser.errors) >= 2
