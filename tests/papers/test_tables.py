"""Published tables: well formed, their rows are experiments that can be created, their commands are taken."""

import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import experiment
import main
import samplers
import sde_lib
from components import ConfigError
from experiment import sizes
from modes import check
from papers import cost, settings, tables
from papers.edm import heun
from papers.measure import OF_SAMPLES, READS
from papers.published import Mark, Metric, Row, Table
from papers.runs import Found, deviations, nearest, of_training, told

CELLS = {name: [cell for cell in table.cells() if cell.config] for name, table in tables.TABLES.items()}


@pytest.fixture(autouse=True)
def untraced(monkeypatch):
    """Networks of published size are not traced for their memory: it takes minutes in all."""
    monkeypatch.setattr(sizes, "of_network", lambda *of: [])


def test_every_figure_is_a_number_with_a_mark_or_none():
    for name, table in tables.TABLES.items():
        for cell in table.cells():
            assert cell.mark in Mark and cell.column.metric in Metric
            assert cell.value is not None or cell.figure.text in ("-", "(same)", "- (same)"), (
                name,
                cell.name,
            )
        assert table.source and re.search(r"\d{4}", table.source)


def test_a_row_has_a_figure_for_each_column():
    one = tables.choose("song2021/table3")
    with pytest.raises(ValueError, match="DDPM: 1 figures"):
        Table("title", "source", Mark.READ, one.columns, (Row("DDPM", ("3.17",)),))


def test_no_row_stands_in_a_table_twice():
    for table in tables.TABLES.values():
        names = [cell.name for cell in table.cells()]
        assert len(names) == len(set(names))


def _kind(cell):
    """What of a cell's settings decides most refusals."""
    groups = ("sampling.predictor", "sampling.corrector", "sampling.grid", "sampling.variance", "sde")
    names = [str(cell.overrides.get(group, {}).get("name")) for group in groups]
    return (cell.config, *names, cell.column.metric)


def _every(name):
    """Cells of a table, one of each setting apart from the number of steps."""
    found = {}
    for cell in CELLS[name]:
        if cell.figure.cannot is None:
            settled = {path: value for path, value in cell.overrides.items() if path != "sampling.steps"}
            found.setdefault((cell.config, str(settled)), cell)
    return list(found.values())


def _refused(cell):
    trained = settings.published_config(cell)
    # What the side of the images decides takes tracing.
    trained.data.image_size = None
    config = settings.measured_config(trained, cell, workdir="run", network="run")
    config.sampling.steps = min(config.sampling.steps, 60)
    return [line for line in experiment.problems(config, READS) if "there is no such file" not in line]


def test_the_overrides_of_rows_are_taken():
    # One of each kind; the slow test has all.
    kinds = {_kind(cell)[1:]: cell for name in CELLS for cell in _every(name)}
    assert len(kinds) > 20
    for cell in kinds.values():
        assert _refused(cell) == [], cell.name


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_the_overrides_of_every_row_are_taken(name):
    for cell in _every(name):
        assert _refused(cell) == [], cell.name


def test_an_override_that_cannot_be_is_refused():
    cell = CELLS["ddim/table1"][0]
    wrong = Row(cell.row.label, cell.row.figures, cell.config, {"sampling.predictor": {"name": "none_such"}})
    table = Table("title", "source", Mark.READ, cell.table.columns, (wrong,))
    assert "none_such" in _refused(next(table.cells()))[0]


def _trainings(name):
    found = {}
    for cell in CELLS[name]:
        if cell.figure.cannot is None:
            found.setdefault((cell.config, str(settings.of_training(cell.overrides))), cell)
    return found.values()


@pytest.mark.parametrize("name", CELLS)
def test_the_commands_that_are_printed_pass_the_check(name):
    for cell in _trainings(name):
        for line in settings.training_commands(cell, "runs"):
            given = shlex.split(line)
            assert given[:2] == ["python", "main.py"]
            config, flags, mode = main.parse(given[1:])
            assert mode == "train" and flags["workdir"].startswith("runs/")
            # A head is refused only for the network that is not trained yet.
            assert check.problems("train", config) == []


def test_a_command_makes_the_config_that_runs_are_compared_with():
    for cell in _trainings("extended_analytic_dpm/table1"):
        *_, last = settings.training_commands(cell, "runs")
        config, _, _ = main.parse(shlex.split(last)[1:])
        wanted = settings.published_config(cell)
        config.training.network_from = wanted.training.network_from
        assert config == wanted


# As the papers print them: EDM's Heun, PC sampling of Song et al. with 1,000 steps of predictor and
# corrector, the columns of DPM-Solver-v3.
@pytest.mark.parametrize(
    ("table", "row", "calls"),
    [
        ("edm/table2", "F ", {35, 79}),
        ("song2021/table3", "NCSN++ cont. (VE)", {2000}),
        ("song2021/table3", "DDPM++ cont. (VP)", {1000}),
        ("dpm_solver_v3/table12", "ScoreSDE, DPM-Solver++", {5, 6, 8, 10, 12, 15, 20, 25}),
    ],
)
def test_calls_of_a_sample_are_those_that_papers_count(table, row, calls):
    cells = [c for c in CELLS[table] if c.row.label.startswith(row) and c.column.metric in OF_SAMPLES]
    counted = {
        cost.network_calls(settings.measured_config(settings.published_config(cell), cell))
        for cell in cells
        if cell.figure.cannot is None
    }
    assert counted == calls


def _run(cell, *steps, **changed):
    config = settings.published_config(cell)
    config.update_from_flattened_dict(changed)
    return Found(Path("run"), config, steps or (config.training.steps,))


@pytest.mark.parametrize("name", CELLS)
def test_no_run_stands_for_another_training_without_a_word(name):
    runs = [(cell.name, _run(cell)) for cell in _trainings(name)]
    for cell, run in runs:
        wanted = run.config
        assert of_training(wanted, [run]) and not deviations(wanted, run)
        for other, another in runs:
            found = None if another is run else of_training(wanted, [another])
            assert found is None or deviations(wanted, found), (cell, other)


def _cell(table, row, column=0):
    return [cell for cell in CELLS[table] if cell.row.label == row][column]


def test_data_and_length_tell_trainings_apart():
    cell = _cell("song2021/table3", "DDPM++ cont. (VP)")
    wanted = settings.published_config(cell)
    elsewhere = _run(cell, **{"data.source": "npz:svhn.npz"})
    assert of_training(wanted, [elsewhere]) is None
    assert told(nearest(wanted, [elsewhere])[1]).startswith("data.source='npz:svhn.npz', not")
    taken = of_training(wanted, [elsewhere], other_data=True)
    assert taken and [*deviations(wanted, taken)] == ["data.source"]
    # The one that was trained as published is taken, however far another one is.
    short = _run(cell, 10, **{"training.batch_size": 1, "optim.learning_rate": 1.0})
    assert {*deviations(wanted, short)} == {"training.batch_size", "optim.learning_rate", "training.steps"}
    assert of_training(wanted, [short, _run(cell, 5)]).steps == (5,)
    # What is nearly whole goes before what has hardly begun, however that was trained.
    far = _run(cell, wanted.training.steps - 1, **{"optim.warmup": 7, "training.batch_size": 129})
    assert of_training(wanted, [far, _run(cell, 10)]).steps == far.steps
    # What may differ within a network or in what is seen of the images is said, too.
    for path, value in (("model.dropout", 0.7), ("data.crop", 10), ("model.dtype", "bfloat16")):
        assert [*deviations(wanted, _run(cell, **{path: value}))] == [path]
    assert not deviations(wanted, _run(cell, **{"ema.snapshot_every": 7}))
    # A checkpoint beyond the paper's steps is another model, and one at them is the paper's.
    early = _cell("improved_diffusion/table1", "200K, 4K, cosine, L_hybrid")
    late = _cell("improved_diffusion/table1", "1.5M, 4K, cosine, L_hybrid")
    wanted = settings.published_config(early)
    assert of_training(wanted, [_run(late)]) is None
    assert told(nearest(wanted, [_run(late)])[1]) == "training.steps=1500000, not 200000"
    kept = of_training(wanted, [_run(late, 200_000, 1_500_000)])
    assert kept.steps == (200_000,) and not deviations(wanted, kept)
    # The steps of a published file are counted as its authors did.
    file = dataclasses.replace(_run(late, 7), imported=True)
    assert of_training(wanted, [file]) == file and not deviations(wanted, file)


def test_an_unknown_table_is_answered_by_the_known_ones():
    with pytest.raises(ConfigError, match='Did you mean "song2021/table3".*edm/table2') as refused:
        tables.choose("song2021/tabel3")
    assert "\n" not in str(refused.value)


def test_tables_are_imported_by_their_mode_alone():
    code = "import sys, main; sys.exit(any(name.split('.')[0] == 'papers' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_table_1_of_song_has_the_ratios_of_table_5():
    of_table_5 = {
        (row.label, column.title): cell.value
        for cell in tables.choose("song2021/table5").cells()
        for row, column in [(cell.row, cell.column)]
    }
    for cell in tables.choose("song2021/table1").cells():
        corrector = cell.overrides.get("sampling.corrector", {})
        printed = of_table_5.get((cell.row.label, cell.column.title))
        if printed is not None:
            assert corrector["snr"] == printed


def test_heun_s_calls_are_those_that_the_tables_name():
    for calls in (27, 35, 79):
        config = settings.overridden(settings.published_config(CELLS["edm/table2"][-1]), heun(calls))
        sampler = samplers.create(config.sampling, sde_lib.create(config.sde), data_std=None)
        assert sampler.nfe == calls
