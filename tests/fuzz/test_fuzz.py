"""The fuzzers, short; `make fuzz` runs them long."""

import pytest

from tests.fuzz import files, overrides, trial
from workdir.files import write_measured


def test_overrides_end_in_objects_or_in_lines():
    codes = overrides.run(seed=0, count=200)
    assert codes.get(0, 0) > 0 and codes.get(2, 0) > 0


def test_crafted_files_are_refused_or_hold_what_their_mode_writes(tmp_path):
    assert files.run(seed=0, count=150, folder=tmp_path) > 75


@pytest.mark.parametrize("name", files.sound())
def test_sound_files_are_taken(name, tmp_path):
    kind, arrays, overrides, field = files.sound()[name]
    path = tmp_path / "sound.npz"
    write_measured(path, kind, arrays, files.ORIGIN)
    flags = [f"--config.{key}={value}" for key, value in {**overrides, field: path}.items()]
    assert trial.run(["--config=configs/gaussian_mixture.py:ring", "--mode=coefficients", *flags]) == (0, [])
