"""What a mode leaves behind: whole files, by one process, and no traces of ended threads."""

import json

import jax
import numpy as np
import pytest

from components import UserError
from reports import pictures
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


def test_a_folder_of_pictures_is_replaced_as_a_whole_and_no_other_folder(tmp_path):
    results = Results(tmp_path)
    images = np.arange(5 * 4, dtype=np.uint8).reshape(5, 2, 2, 1)
    results.write_folder("samples", ".png", pictures.save_samples, images, 20)
    results.write_folder("samples", ".png", pictures.save_samples, images[:3], 20)
    names = [path.name for path in sorted((tmp_path / "samples").iterdir())]
    assert names == ["000000.png", "000001.png", "000002.png"]

    def interrupted(path):
        (path / "half.png").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results.write_folder("samples", ".png", interrupted)
    assert [path.name for path in sorted((tmp_path / "samples").iterdir())] == names
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]

    (tmp_path / "samples" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="samples holds something else"):
        results.write_folder("samples", ".png", pictures.save_samples, images, 20)
    assert (tmp_path / "samples" / "thesis.txt").read_text() == "mine"


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
