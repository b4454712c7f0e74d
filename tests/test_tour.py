"""docs/tour.ipynb: it runs as it stands, and its outputs are those of a run."""

import json

import pytest

from tests.conftest import ROOT

PATH = ROOT / "docs" / "tour.ipynb"


def _cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_every_cell_was_run_and_shows_no_machine():
    text = PATH.read_text()
    cells = _cells(json.loads(text))
    assert len(cells) >= 8 and all(cell["execution_count"] == i + 1 for i, cell in enumerate(cells))
    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert kinds.count("display_data") >= 4 and "error" not in kinds
    assert "/root" not in text and "/home" not in text and str(ROOT) not in text


@pytest.mark.slow
def test_the_notebook_runs():
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(PATH, as_version=4)
    shown = [len(cell["outputs"]) > 0 for cell in _cells(notebook)]
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    assert [len(cell["outputs"]) > 0 for cell in _cells(notebook)] == shown
