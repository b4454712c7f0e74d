"""The tables of papers/: shown while they are filled, from the first cell on."""

import sys

import pytest

from papers import optimal_variance


def _cell(bits=None):
    cell = {"sliced_wasserstein": 0.25, "one_nearest_neighbour": 0.5}
    return cell if bits is None else {**cell, "bits_per_dim": {"value": bits}}


def test_a_table_is_shown_from_its_first_cell_on(tmp_path):
    calls, cells = (10, 25), {"floor": _cell()}
    for name, cell in (
        (None, None),
        ("linear/DDPM, small/10", _cell(3.0)),
        ("linear/DDPM, small/25", _cell(2.0)),
        ("linear/DDIM/10", _cell()),
        ("cosine/DDPM, small/10", _cell(3.5)),
    ):
        if name:
            cells[name] = cell
        path = tmp_path / "figure.png"
        optimal_variance.optimal_variance_figure(
            path, cells, optimal_variance.SCHEDULES, optimal_variance.METHODS, calls
        )
        assert path.stat().st_size > 1000
        path.unlink()
        lines = optimal_variance.markdown(cells, calls).splitlines()
        shown = [line for line in lines if line.startswith("| DDPM, small")]
        assert ("| DDPM, small | **3.000** | **2.000** |" in shown) == ("linear/DDPM, small/25" in cells)


@pytest.mark.slow
def test_the_command_fills_its_table_and_does_nothing_twice(tmp_path, monkeypatch, capsys):
    arguments = ["optimal_variance", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path), "--calls", "3"]
    arguments += ["--steps", "4", "--head-steps", "2", "--width", "8", "--samples", "16", "--images", "8"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--examples", "16"])
    optimal_variance.main()
    table = (tmp_path / "optimal_variance_digits.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| K")]
    assert len(rows) == 2 * (7 + 9 + 9) and all(len(row.split("|")[2].strip()) >= 5 for row in rows)
    capsys.readouterr()
    optimal_variance.main()
    again = capsys.readouterr().err
    assert "already trained" in again and "linear/DDPM, small/3" not in again
    assert (tmp_path / "optimal_variance_digits.md").read_text() == table
