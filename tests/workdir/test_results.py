"""What a mode leaves behind: whole files, by one process, and no traces of ended threads."""

import json

import jax
import numpy as np
import pytest

from workdir.records import Records
from workdir.results import Results


def test_results_are_written_whole_or_not_at_all(tmp_path):
    results = Results(tmp_path)
    results.json("a.json", {"numbers": np.arange(2)})
    results.arrays("b.npz", x=np.ones(2))

    def interrupted(path, text):
        path.write_text(text)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results.write("a.json", interrupted, "half")
    assert json.loads((tmp_path / "a.json").read_text()) == {"numbers": [0, 1]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.npz"]


def test_one_process_alone_writes_and_prints_results(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    (tmp_path / "old.png").write_text("")
    results = Results(tmp_path)
    results.json("a.json", {})
    results.arrays("b.npz", x=np.ones(2))
    results.remove_others("old.png")
    results.print("a figure")
    results.say_written()
    records = Records(tmp_path, start=0)
    records.scalars(1, {"loss": 1.0})
    records.image(1, "samples", np.zeros((2, 2, 3), np.uint8))
    records.close()
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert capsys.readouterr() == ("", "")
