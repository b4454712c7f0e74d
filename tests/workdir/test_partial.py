"""Rows that survive a kill: taken up again, by several processes, where parts are damaged."""

import jax
import numpy as np
import pytest

from components import UserError
from workdir.partial import Partial

COUNT = 11


def _squares(rows, calls=None):
    if calls is not None:
        calls.extend(rows.tolist())
    return {"square": rows.astype(np.float64) ** 2, "pair": np.stack([rows, -rows], axis=1)}


def _fill(partial, calls=None, size=2, count=COUNT):
    partial.fill(count, size, lambda rows: _squares(rows, calls), "squares", "row", "rows were done")
    return partial.merged(count)


def _is_whole(arrays, count=COUNT):
    expected = _squares(np.arange(count))
    return arrays.keys() == expected.keys() and all(
        np.array_equal(arrays[name], expected[name]) for name in expected
    )


def _killed(partial, after):
    calls = []

    def compute(rows):
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(rows)
        return _squares(rows)

    with pytest.raises(KeyboardInterrupt):
        partial.fill(COUNT, 2, compute, "squares", "row", "rows were done")


@pytest.mark.parametrize("seconds", [0.0, 100.0])
def test_a_stopped_run_is_taken_up_and_its_parts_go_when_all_is_done(tmp_path, capsys, seconds):
    first = Partial(tmp_path / "x", {"step": 1}, seconds)
    _killed(first, after=3)
    assert len(list(first.folder.iterdir())) in ((2, 3) if seconds else (3,))
    calls, again = [], Partial(tmp_path / "x", {"step": 1}, seconds)
    assert _is_whole(_fill(again, calls)) and calls == [6, 7, 8, 9, 10]
    assert "squares: 6 rows were done before" in capsys.readouterr().err
    again.finish()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("of_a_batch", [0.01, 1.0, 60.0])
def test_a_kill_costs_a_batch_or_a_tenth_of_the_work_and_parts_are_few(tmp_path, monkeypatch, of_a_batch):
    clock, kept = [0.0], [0.0]
    monkeypatch.setattr("workdir.partial.time.monotonic", lambda: clock[0])
    partial = Partial(tmp_path / "x", {})
    monkeypatch.setattr(partial, "_write", lambda path, part: kept.append(clock[0]))
    for row in range(2000):
        clock[0] += of_a_batch
        partial.add(np.array([row]), {"square": np.array([row**2])})
        # Now a SIGKILL, after which nothing can be saved.
        lost = clock[0] - kept[-1]
        assert lost <= max(min(5.0, 0.1 * clock[0]), of_a_batch * 0.999)
    # At first geometrically many, ten times those of a tenth, then one each five seconds.
    assert len(kept) - 1 <= min(2000, 70 + clock[0] / 5)


def test_more_rows_or_other_batches_take_up_the_rows_that_are_there(tmp_path):
    _killed(Partial(tmp_path / "x", {}), after=3)
    calls = []
    assert _is_whole(_fill(Partial(tmp_path / "x", {}), calls, size=4, count=15), 15)
    assert calls == list(range(6, 15))
    assert _is_whole(Partial(tmp_path / "x", {}).merged(4), 4)


def test_rows_of_something_else_are_neither_taken_nor_deleted(tmp_path):
    first, second = Partial(tmp_path / "x", {"step": 1}), Partial(tmp_path / "x", {"step": 2})
    _killed(first, after=3)
    calls = []
    _fill(second, calls)
    second.finish()
    assert calls == list(range(COUNT))
    _fill(Partial(tmp_path / "x", {"step": 1}), calls)
    assert calls[COUNT:] == list(range(6, COUNT))


def test_processes_fill_one_another_s_gaps(tmp_path, monkeypatch):
    filled = []
    for index in range(3):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        monkeypatch.setattr(jax, "process_count", lambda: 3)
        monkeypatch.setattr("workdir.partial.wait_for_all", lambda name: None)
        partial, calls = Partial(tmp_path / "x", {}, seconds=0.0), []
        partial.fill(COUNT, 2, lambda rows, calls=calls: _squares(rows, calls), "squares", "row", "")
        filled.append(calls)
    assert filled == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10]]
    assert _is_whole(partial.merged(COUNT))


@pytest.mark.parametrize("damage", ["text", "empty", "cut"])
def test_a_damaged_part_is_computed_again(tmp_path, capsys, damage):
    first = Partial(tmp_path / "x", {}, seconds=0.0)
    _fill(first)
    part = sorted(first.folder.iterdir())[1]
    part.write_bytes({"text": b"no zip file", "empty": b"", "cut": part.read_bytes()[:500]}[damage])
    calls = []
    assert _is_whole(_fill(Partial(tmp_path / "x", {}), calls)) and calls == [2, 3]
    assert "cannot be read" in capsys.readouterr().err


def test_damage_that_shows_late_is_mended_by_the_same_command(tmp_path):
    first = Partial(tmp_path / "x", {}, seconds=0.0)
    _fill(first)
    part = sorted(first.folder.iterdir())[1]
    content = bytearray(part.read_bytes())
    content[content.index(np.float64(9).tobytes())] ^= 1
    part.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read.*was removed. Run the same command again"):
        _fill(Partial(tmp_path / "x", {}))
    assert _is_whole(_fill(Partial(tmp_path / "x", {})))


def test_finished_rows_may_be_kept_for_the_next_time(tmp_path):
    first = Partial(tmp_path / "x", {"step": 1}, keep=True)
    first.finish(_fill(first))
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
    calls = []
    assert _is_whole(_fill(Partial(tmp_path / "x", {"step": 1}, keep=True), calls)) and not calls
    other = Partial(tmp_path / "x", {"step": 2}, keep=True)
    other.finish(_fill(other, calls))
    assert calls == list(range(COUNT))
    # What another program wrote there is no result of ours.
    (tmp_path / "x.npz").write_text("something")
    assert _is_whole(_fill(Partial(tmp_path / "x", {"step": 2}, keep=True)))


@pytest.mark.parametrize(
    "crafted",
    [
        {"rows": np.array(["a", "b"]), "x": np.zeros((2, 3))},
        {"rows": np.array([-1, 0]), "x": np.zeros((2, 3))},
        {"rows": np.array([[0, 1]]), "x": np.zeros((1, 3))},
        {"rows": np.array([0, 1]), "x": np.zeros(())},
        {"rows": np.array([0, 1]), "x": np.zeros((3, 3))},
        {"x": np.zeros((2, 3))},
    ],
    ids=str,
)
def test_a_crafted_part_is_removed_and_computed_anew(tmp_path, capsys, crafted):
    first = Partial(tmp_path / "x", {}, seconds=0.0)
    _fill(first)
    part = sorted(first.folder.iterdir())[0]
    np.savez(part, identity=np.load(part)["identity"], **crafted)
    # What shows late is mended by the same command.
    try:
        whole, said = _fill(Partial(tmp_path / "x", {})), capsys.readouterr().err
    except UserError as error:
        whole, said = _fill(Partial(tmp_path / "x", {})), str(error)
    assert _is_whole(whole) and "cannot be read" in said


def test_a_part_of_other_arrays_is_removed(tmp_path):
    first = Partial(tmp_path / "x", {}, seconds=0.0)
    _fill(first)
    last = sorted(first.folder.iterdir())[-1]
    with np.load(last) as found:
        np.savez(
            last, identity=found["identity"], rows=found["rows"], other=np.zeros((len(found["rows"]), 2))
        )
    with pytest.raises(UserError, match="another kind"):
        _fill(Partial(tmp_path / "x", {}))
    assert _is_whole(_fill(Partial(tmp_path / "x", {})))


def test_fewer_rows_than_are_kept_cost_none_of_them(tmp_path):
    def kept():
        return Partial(tmp_path / "x", {}, seconds=0.0, keep=True)

    first = kept()
    first.finish(_fill(first, count=5))
    _killed(kept(), after=2)
    few = kept()
    calls = []
    few.finish(_fill(few, calls, count=3))
    assert not calls
    # The rows of the first run and those of the killed one.
    _fill(kept(), calls)
    assert calls == [9, 10]
