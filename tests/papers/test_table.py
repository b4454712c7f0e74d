"""--mode=table on small trainings: rows find their runs, a stopped table goes on, what is missing is told."""

import csv
import dataclasses
import json
import shlex
import signal
import subprocess
import sys
import time

import pytest

import main
from components import ConfigError
from modes import check
from papers import measure, page, tables
from papers.published import (
    Checkpoint,
    Column,
    Figure,
    Mark,
    Metric,
    Protocol,
    Repeats,
    Row,
    Table,
    sampler,
    split,
)
from tests.conftest import ROOT, as_flags, environment

FEW = {
    "table.samples": 24,
    "table.seeds": 2,
    "table.images": 4,
    "table.batch_size": 8,
    "table.steps": 2,
    "table.width": 8,
}

TINY_TABLE = Table(
    "Steps",
    "A test 2020",
    Mark.READ,
    (
        Column("3 calls", overrides=sampler(None, 2)),
        Column("5 calls", overrides=sampler(None, 4)),
        Column("NLL", Metric.BOUND, {"eval.bound.levels": 3}),
    ),
    (
        Row("another paper's", split("1.00 | 2.00 | -")),
        Row("eta = 0", split("4.50 | 3.25 | 2.00"), "digits", {"sampling.predictor": {"name": "ddim"}}),
        Row(
            "elsewhere",
            split("1.5 | - | -"),
            "digits",
            {"data.image_size": 8, "data.channels": 1, "sampling.predictor": {"name": "ddim"}},
            small=False,
        ),
        Row("told why", (Figure("9", cannot="it cannot"), "-", "-"), "digits"),
    ),
    Protocol(repeats=Repeats.LEAST_OF_3),
)


@pytest.fixture
def tiny_table(monkeypatch):
    monkeypatch.setitem(tables.TABLES, "test/steps", TINY_TABLE)
    return "test/steps"


def _command(folder, *more, **fields):
    return ["main.py", "--mode=table", f"--runs={folder}", *more, *as_flags({**FEW, **fields})]


def _read(folder):
    return json.loads((folder / "table.json").read_text())["cells"]


def test_a_small_table_is_trained_measured_and_taken_up_again(tiny_table, tmp_path, capsys, monkeypatch):
    flags = (f"--table={tiny_table}", "--scale=digits")
    results = tmp_path / "tables" / "test_steps_digits"
    # Stopped while the second cell is measured ...
    measured = measure.PixelQuality.measure

    def stopped(self, evaluation):
        if evaluation.config.sampling.steps == 4 and evaluation.config.seed == 1:
            raise KeyboardInterrupt
        return measured(self, evaluation)

    monkeypatch.setattr(measure.PixelQuality, "measure", stopped)
    assert main.main(_command(tmp_path, *flags)) == 130
    assert set(_read(results)) == {"eta = 0 / NLL", "eta = 0 / 3 calls"}
    # ... it goes on without training, and ends as one that was not stopped.
    monkeypatch.setattr(measure.PixelQuality, "measure", measured)
    capsys.readouterr()
    assert main.main(_command(tmp_path, *flags)) == 0
    out, err = capsys.readouterr()
    found = _read(results)
    assert set(found) == {"eta = 0 / 3 calls", "eta = 0 / 5 calls", "eta = 0 / NLL"}
    assert "training" not in err and "**" in out
    cell = found["eta = 0 / 3 calls"]
    assert (cell["published"], cell["n"], cell["sets"], cell["nfe"], cell["step"]) == (4.5, 24, 2, 3.0, 2)
    assert cell["error"] > 0 and cell["others"]["real_sliced_wasserstein"] > 0
    assert (results / "table.png").stat().st_size > 1000
    rows = [row for row in csv.DictReader((results / "table.csv").open()) if row["measured"]]
    assert [float(row["measured"]) for row in rows] == [entry["value"] for entry in found.values()]
    # Once more: nothing is drawn.
    monkeypatch.setattr(measure.PixelQuality, "measure", None)
    assert main.main(_command(tmp_path, *flags)) == 0
    assert _read(results) == found


# While a checkpoint is written, samples are drawn, the second set of them follows the first.
STAGES = ("*/checkpoints/*", "tables/*/measured/*/*.parts-*/*.npz", "tables/*/measured/*/evaluated/*.json")


@pytest.mark.slow
def test_a_table_that_is_killed_in_each_stage_ends_with_the_same_figures(tmp_path):
    def begun(folder):
        command = _command(folder, "--table=unipc/abstract", "--scale=digits")
        return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment(1))

    def figures(folder):
        cells = _read(folder / "tables" / "unipc_abstract_digits")
        return {name: {**cell, "workdir": None} for name, cell in cells.items()}

    killed = tmp_path / "killed"
    for stage in STAGES:
        process = begun(killed)
        while process.poll() is None and not any(killed.glob(stage)):
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    for folder in (killed, tmp_path / "whole"):
        assert begun(folder).wait() == 0
    assert figures(killed) == figures(tmp_path / "whole") and figures(killed)


def test_the_printed_command_trains_the_run_that_the_table_then_finds(tmp_path, monkeypatch, capsys):
    small = {
        "model.width": 8, "model.multipliers": (1,), "model.attention": (), "training.steps": 2,
        "training.batch_size": 8, "training.eval_every": 0, "training.sample_every": 0,
        "training.log_every": 1, "checkpoint.every": 1, "checkpoint.keep": 2, "optim.warmup": 0,
    }  # fmt: skip
    row = Row("one", ("4.50", "9.1"), "digits", {**small, "sampling.corrector": {"name": "none"}})
    columns = (Column("FID", overrides={"sampling.steps": 2}), Column("IS", Metric.INCEPTION_SCORE))
    protocol = Protocol(checkpoint=Checkpoint.LEAST_FID)
    table = Table("Title", "A test 2020", Mark.SECONDARY, columns, (row,), protocol)
    monkeypatch.setitem(tables.TABLES, "test/found", table)
    flags = ("--table=test/found", "--config.eval.features.name=pixels")
    folder = {"eval.reference.folder": tmp_path / "reference"}
    fields = {"table.costs": False, "table.checkpoints": "kept", "table.seeds": 1, **folder}
    assert main.main(_command(tmp_path, *flags, **fields)) == 0
    train, again = [line.strip(" -`") for line in capsys.readouterr().out.splitlines() if "`python" in line]
    assert "--table=test/found" in again
    assert main.main(shlex.split(train)[1:]) == 0
    capsys.readouterr()
    assert main.main(_command(tmp_path, *flags, **fields)) == 0
    out = capsys.readouterr().out
    found = _read(tmp_path / "tables" / "test_found")["one / FID"]
    assert set(found["by_checkpoint"]) == {"1", "2"} and found["value"] == found["by_checkpoint"]["2"]
    assert "least of 2 checkpoints" in out and "pixels, against 1463 train images of digits" in out
    # Of pixels there is no Inception Score, which is said.
    assert "IS: there is no inception_score of these samples: it takes features of inception" in out


def test_what_has_no_run_is_listed_with_commands_and_costs(tmp_path, capsys):
    assert main.main(_command(tmp_path, "--table=song2021/table3", **{"table.costs": False})) == 0
    out = capsys.readouterr().out
    commands = [line.strip(" -`") for line in out.splitlines() if "`python main.py" in line]
    assert len(commands) == 2 * 10
    assert "| BigGAN (conditional) | 14.73 [v] | 9.22 [v] |" in out
    assert "its page says no hours" in out


def test_the_command_that_is_printed_does_what_the_table_would(tiny_table, tmp_path, capsys):
    folder = tmp_path / "my runs"
    folder.mkdir()
    flags = (f"--table={tiny_table}", f"--output={tmp_path / 'out'}", "--config.eval.features.name=pixels")
    given = _command(folder, *flags, **{"eval.reference.file": "of $HOME.npz", "table.costs": False})
    small = _command(folder, f"--table={tiny_table}", "--scale=digits", **{"table.costs": False})
    for command in (given, small):
        assert main.main([*command, "--config.table.measure=False"]) == 0
        lines = capsys.readouterr().out.splitlines()
        printed = [line.strip(" -`") for line in lines if "`python" in line and "--mode=table" in line]
        assert printed
        for line in printed:
            config, found, _ = main.parse(shlex.split(line)[1:])
            expected, wanted, _ = main.parse(command)
            assert (config.to_dict(), found) == (expected.to_dict(), wanted)
    # Nothing was trained or written on the way, and at a small scale no published training is named.
    assert not list(folder.iterdir()) and not (tmp_path / "out").exists()
    assert not any("--mode=train" in line for line in lines)


def test_hours_are_estimated_where_the_page_says_none(tiny_table, tmp_path, capsys):
    assert main.main(_command(tmp_path, f"--table={tiny_table}")) == 0
    out = capsys.readouterr().out
    assert "training, estimated, 0 device hours" in out and "GFLOP a call" in out
    assert "2 x 24 samples with 3 calls, estimated" in out
    assert "told why**: 3 calls: it cannot" in out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--table=song2021/table9"], "is no table"),
        (["--table=edm/table2", "--scale=mnist"], "Known: digits, npz:<path>"),
        (["--table=edm/table2", "--scale=npz:none.npz"], "--scale=npz:none.npz: data.source"),
        (["--table=edm/table2", "--config.sampling.steps=9"], "is no field of --mode=table"),
        (
            ["--table=edm/table2", "--scale=digits", "--config.eval.reference.images=9"],
            "not read with --scale",
        ),
        (["--table=edm/table2", "--scale=digits", "--config.table.checkpoints=kept"], "its last checkpoint"),
        (["--table=edm/table2", "--config.table.width=6"], "must be a multiple of 4"),
        (["--table=edm/table2", "--config.table.checkpoints=best"], "Known: last, kept"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(flags, said, tmp_path, capsys):
    assert main.main(["main.py", "--mode=table", f"--runs={tmp_path}", *flags]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and said in err[0]


def test_a_folder_that_cannot_be_written_to_is_named_by_its_flag(tmp_path, capsys, monkeypatch):
    def refused(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    for flags, said in (
        ([], f"--runs={tmp_path}: {tmp_path}/tables/edm_table2 in it cannot be written to"),
        (["--scale=digits", f"--output={tmp_path}/x"], f"--runs={tmp_path} cannot be written to"),
        ([f"--output={tmp_path}/x"], f"--output={tmp_path}/x cannot be written to"),
    ):
        assert main.main(_command(tmp_path, "--table=edm/table2", *flags)) == 1
        assert said in capsys.readouterr().err


def test_runs_are_asked_for_and_must_be_there(tmp_path, capsys):
    assert main.main(["main.py", "--mode=table", "--table=edm/table2"]) == 2
    assert main.main(["main.py", "--mode=table", "--table=edm/table2", f"--runs={tmp_path}/none"]) == 1
    err = capsys.readouterr().err.splitlines()
    assert "--runs=DIR" in err[0] and "is no folder" in err[1] and len(err) == 2


def test_all_tables_are_listed(capsys):
    assert main.main(["main.py", "--mode=table", "--table=list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(tables.TABLES)


def test_the_best_of_several_stands_beside_what_is_not_the_best():
    cell = next(cell for cell in TINY_TABLE.cells() if cell.config)
    found = measure.Measured(4.6, 0.1, "", 100, 3, 9, "run", least=4.45, by_checkpoint={3: 4.2, 9: 4.6})
    text = page.markdown("test", TINY_TABLE, [cell], {id(cell): found}, [], None, "so.")
    assert "4.50 [v] → **4.60 ± 0.10 (least of 3: 4.45) (least of 2 checkpoints: 4.20 at step 3)**" in text
    assert "least of 3" in page.repeats_note(TINY_TABLE, 3)
    assert dataclasses.asdict(found)["least"] == 4.45


def test_the_check_of_the_mode_refuses_what_it_refuses():
    config, _, _ = main.parse(["main.py", "--mode=table", "--table=list", "--config.table.samples=1"])
    assert check.problems("table", config) == ["table.samples=1 must be at least 2."]
    with pytest.raises(ConfigError, match="is no table"):
        tables.choose("edm")
