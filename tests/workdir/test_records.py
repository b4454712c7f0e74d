"""What a run records: rows by step that any reader of JSON reads, whatever was damaged before."""

import json
import time

import numpy as np
import pytest

from tests.conftest import events
from workdir import strict_json
from workdir.records import Records, Waiting, read_metrics


def _strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    "content",
    [1.5, [float("inf"), -float("inf")], {"a": {"b": [1, None, "text"]}, "c": float("inf")}, [], "nan"],
)
def test_strict_json_comes_back(content):
    text = strict_json.dumps(content)
    _strict(text)
    assert strict_json.loads(text) == content


def test_arrays_and_numbers_that_are_none_are_json_too():
    text = strict_json.dumps({1: np.array([np.nan, 2.0]), "n": np.float32(np.inf), "t": (1, 2)})
    assert _strict(text) == {"1": ["NaN", 2.0], "n": "Infinity", "t": [1, 2]}
    assert np.isnan(strict_json.loads(text)["1"][0])


def test_a_number_that_is_not_finite_is_left_out_by_name(tmp_path, capfd):
    records = Records(tmp_path, start=0)
    records.scalars(1, {"loss": 1.0, "held_out_loss": float("nan")})
    records.close()
    assert [_strict(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [
        {"step": 1, "loss": 1.0}
    ]
    assert "held_out_loss is nan at step 1" in capfd.readouterr().err


def test_lines_that_cannot_be_read_are_left_out_and_said_but_for_one_that_a_kill_cut_off(tmp_path, capfd):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
    assert [row["step"] for row in read_metrics(tmp_path)] == [1]
    assert capfd.readouterr().err == ""
    path.write_bytes(b'{"step": 1}\n\xff\xfe\n[1]\n{"loss": 3}\n{"step": 5}\n')
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 5]
    assert f"warning: {path} is damaged: 3 of its lines, from line 2 on" in capfd.readouterr().err


def test_events_are_on_disk_as_soon_as_they_are_recorded(tmp_path):
    records = Records(tmp_path, start=4)
    for step in range(5, 40):
        records.scalars(step, {"loss": 1.0 / step})
    records.image(39, "samples", np.zeros((2, 3, 3), np.uint8))
    found = events(tmp_path / "tensorboard")
    scalars = {event.step: event.summary.value[0].simple_value for event in found if event.summary.value}
    assert sorted(scalars) == list(range(5, 40)) and scalars[8] == 0.125
    assert found[1].step == 5 and found[1].session_log.status
    assert found[-1].summary.value[0].image.width == 3
    records.close()


def test_a_long_wait_is_said_again(capfd):
    waiting = Waiting("a checkpoint", seconds=0.05)
    for _ in range(3):
        waiting()
    assert capfd.readouterr().err == "waiting for a checkpoint\n"
    time.sleep(0.06)
    waiting()
    assert capfd.readouterr().err == "still waiting, for 0 minutes, for a checkpoint; Ctrl-C ends it\n"
