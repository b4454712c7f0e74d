"""Records at Weights & Biases, without its service."""

import importlib.util
import json
import subprocess

import numpy as np
import pytest

import main
from tests.conftest import TINY, as_flags, command_line, environment
from workdir.records import Records

installed = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="wandb is not installed (requirements/wandb.txt)"
)


class Recorder:
    def __init__(self):
        self.rows, self.pictures, self.closed = [], [], 0

    def scalars(self, step, values):
        self.rows.append((step, values))

    def image(self, step, name, picture):
        self.pictures.append((step, name, picture.shape))

    def close(self):
        self.closed += 1


def test_what_is_recorded_goes_on_to_another_place(tmp_path):
    other = Recorder()
    records = Records(tmp_path, 0, lambda: other)
    records.scalars(1, {"loss": 0.5, "gradient_norm": float("nan")})
    records.image(1, "samples", np.zeros((4, 4, 3), np.uint8))
    records.close()
    assert other.rows == [(1, {"loss": 0.5})] and other.pictures == [(1, "samples", (4, 4, 3))]
    assert other.closed == 1


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_without_the_package_one_line_says_what_to_install(tmp_path, capsys):
    fields = TINY | {"training.wandb_project": "undrift"}
    flags = [f"--workdir={tmp_path / 'run'}", *as_flags(fields)]
    assert main.main(["main.py", "--config=configs/digits.py", *flags]) == 2
    error = capsys.readouterr().err
    assert 'training.wandb_project="undrift" needs the package wandb' in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@installed
def test_a_run_without_network_lies_in_the_workdir(tmp_path):
    fields = {"training.steps": 2, "training.wandb_project": "undrift", "training.sample_every": 2}
    for _ in range(2):  # the second time it goes on
        done = subprocess.run(
            command_line("train", tmp_path, fields),
            env=environment(1) | {"WANDB_MODE": "offline"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        fields |= {"training.steps": 4}
    files = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2 and len({path.name for path in files}) == 1
    content = b"".join(path.read_bytes() for path in files)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert b"gradient_norm" in content and b"learning_rate" in content and len(rows) >= 4
    assert list((tmp_path / "wandb").glob("offline-run-*/files/media/images/samples_*.png"))
