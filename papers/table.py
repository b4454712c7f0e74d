"""--mode=table: a published table beside the figures of the runs that are there."""

import dataclasses
import shlex
from pathlib import Path

from components import ConfigError, UserError
from configs import base
from modes import train
from papers import cost, page, settings, tables
from papers import runs as found_runs
from papers.measure import OF_SAMPLES, Measure
from papers.small import Small, source_of
from workdir.files import prepare_workdir
from workdir.records import say
from workdir.results import Results
from workdir.saved_config import leaves

# Fields of `table` that nothing reads at a small scale, whose trainings are made for the table.
_NOT_SMALL = ("table.checkpoints", "table.other_data")
# Subtrees of `eval` that are the command's, not the experiment's: by whose features samples are judged.
_OF_THE_COMMAND = ("features", "reference")
CHECKPOINTS = ("last", "kept")


def refusals(config):
    """Lines about the subtree `table`, and about fields that belong to the experiments of the rows."""
    table = config.table
    for field in ("samples", "seeds", "images", "batch_size"):
        value = table[field]
        if value is not None and value < (1 if field in ("seeds", "batch_size") else 2):
            yield f"table.{field}={value} must be at least {1 if field in ('seeds', 'batch_size') else 2}."
    if table.steps < 1:
        yield f"table.steps={table.steps} must be positive."
    if table.width < 4 or table.width % 4:
        yield f"table.width={table.width} must be a multiple of 4."
    if table.checkpoints not in CHECKPOINTS:
        yield f'table.checkpoints="{table.checkpoints}" is unknown. Known: {", ".join(CHECKPOINTS)}.'


def _changed(config):
    """{path: value} of the fields that are other than their defaults."""
    defaults = dict(leaves(base.get_config()))
    return {path: value for path, value in leaves(config) if value != defaults[path]}


def _refuse_others(config, scale):
    """Raises ConfigError for a field that is each row's own, or that nothing reads at a small scale."""
    of_features = tuple(f"eval.{name}." for name in _OF_THE_COMMAND)
    for path in _changed(config):
        if not path.startswith(("table.", *of_features)):
            raise ConfigError(
                f"--config.{path} is no field of --mode=table: each row's experiment has its own. Those of "
                "the table are --config.table.*."
            )
        if scale and path in _NOT_SMALL:
            raise ConfigError(
                f"--config.{path} is not read with --scale: each training is made for the table, on its "
                "data, and its last checkpoint is measured. Leave it out."
            )
        if scale and path.startswith(of_features):
            raise ConfigError(
                f"--config.{path} is not read with --scale: samples are judged by their pixels, beside the "
                "training images. Leave it out."
            )


@dataclasses.dataclass
class _Missing:
    """Cells of one training that no run stands for."""

    cells: list
    reason: str


def run(config, workdir=None, table=None, runs=None, scale=None, output=None):
    """--mode=table: writes table.md, table.csv and table.png, and prints the first.

    Runs are found below `runs` by the config that they were trained with. Finished figures are kept beside
    the results and not measured again: a command that was stopped goes on.

    Args:
      table: "paper/table"; None or "list": a line for each.
      runs: folder in which the workdirs of runs lie.
      scale: digits, npz:<path>: every row is trained and measured at a small scale.
      output: folder of the results; default `<runs>/tables/<paper>_<table>`.

    Raises:
      ConfigError: an unknown table or scale, a field that is none of the table's.
      UserError: no such folder.
    """
    if not table or table == "list":
        print(tables.listing())
        return
    chosen = tables.choose(table)
    _refuse_others(config, scale)
    small = None
    if scale:
        small = Small(source_of(scale), config.table)
        # Trainings lie in it.
        if config.table.measure:
            prepare_workdir(runs, "--runs")
    found_runs.require_folder(runs)
    name = table.replace("/", "_") + (f"_{_short(scale)}" if scale else "")
    folder = Path(runs) / "tables" / name
    results = Results(folder, output, runs) if config.table.measure else None
    flags = {"table": table, "runs": runs, "scale": scale, "output": output}
    overrides = {path: value for path, value in _changed(config).items() if path != "table.measure"}
    command = shlex.join(
        ["python", "main.py", "--mode=table"]
        + [f"--{flag}={value}" for flag, value in flags.items() if value]
        + settings.as_flags(overrides)
    )
    _Filled(table, chosen, runs, scale, small, config, Path(output or folder), results, command).fill()


def _short(scale):
    return "digits" if scale == "digits" else Path(scale.partition(":")[2]).stem


def _in_order(cells):
    """The key by which cells of one training follow each other, those of few steps first."""
    trainings = [(cell.config, str(settings.of_training(cell.overrides))) for cell in cells]
    place = {id(cell): trainings.index(training) for cell, training in zip(cells, trainings, strict=True)}
    return lambda cell: (place[id(cell)], cell.overrides.get("sampling.steps") or 0)


class _Filled:
    """A table that is being filled."""

    def __init__(self, name, table, runs, scale, small, config, folder, results, command):
        self._command = command
        self._name, self._table, self._scale, self._results = name, table, scale, results
        self._runs, self._small, self._settings = runs, small, config.table
        subtrees = {n: config.eval[n] for n in _OF_THE_COMMAND if n in config.eval}
        self._measure = Measure(folder / "measured", config.table, subtrees, small is not None)
        self._found = found_runs.in_folder(runs)
        self._cells = [cell for cell in table.cells() if self._is_shown(cell)]
        self._figures, self._missing = {}, {}

    def _is_shown(self, cell):
        if self._small is None:
            return True
        return bool(cell.config and cell.row.small and cell.column.small and cell.figure.cannot is None)

    def fill(self):
        """Measures what it can, writing the results after each figure."""
        for cell in sorted(self._cells, key=_in_order(self._cells)):
            if cell.config is None or (cell.value is None and not cell.row.note):
                continue
            if cell.figure.cannot:
                self._miss(cell, cell.figure.cannot)
                continue
            run = self._run_of(cell)
            if run is None:
                self._miss(cell, "no run")
                continue
            if not self._settings.measure:
                self._miss(cell, "not measured: table.measure=False", run)
                continue
            try:
                found = self._measure(cell, run, self._sde(cell))
            except UserError as error:
                self._miss(cell, str(error), run)
                say(f"{cell.name}: {error}")
                continue
            deviations = found_runs.told(found_runs.deviations(self._wanted(cell), run))
            self._figures[id(cell)] = dataclasses.replace(found, deviations=deviations)
            say(self._line(cell))
            self._write(whole=False)
        if not self._settings.measure:
            # What was measured before stays as it lies there.
            print(self._text(), end="")
            return
        self._write()
        print((self._results.folder / "table.md").read_text(), end="")
        self._results.say_written()

    def _text(self, whole=True):
        return page.markdown(
            *(self._name, self._table, self._cells, self._figures),
            list(self._missing_lines()) if whole else [],
            self._scale,
            self._how(self._figures.values()),
        )

    def _line(self, cell):
        """What is said of a figure that was measured."""
        found = self._figures[id(cell)]
        value, metric = page.with_error(found, page.digits_of(self._small)), cell.column.metric.value
        if found.error is not None:
            value += f" ({found.what})"
        if self._small:
            metric = page.small_name(metric)
            return (
                f"{cell.row.label} / {cell.column.title}: {metric} of {self._scale} {value}, n={found.n}; of "
                f"the paper's data {cell.figure.text}, which is another scale"
            )
        by = f", {found.by}" if found.by else ""
        line = f"{cell.name}: {cell.figure.text} published, {value} measured, n={found.n}{by}"
        return f"{line}; its training deviates: {found.deviations}" if found.deviations else line

    def _sde(self, cell):
        """The process under which a run is measured: at a small scale several rows may share a training."""
        return self._small.config(cell, shared=False).sde if self._small else None

    def _wanted(self, cell):
        return self._small.config(cell) if self._small else settings.published_config(cell)

    def _run_of(self, cell):
        """The Found of the cell's training; at a small scale trained now where it is missing."""
        wanted = self._wanted(cell)
        run = self._found_of(wanted)
        if self._small and self._settings.measure and (run is None or run.steps[-1] < wanted.training.steps):
            workdir = run.workdir if run else Path(self._runs) / self._slug(cell)
            self._train(cell, wanted, workdir)
            self._found = found_runs.in_folder(self._runs)
            run = self._found_of(wanted)
        return run

    def _found_of(self, wanted):
        return found_runs.of_training(
            wanted, self._found, any_length=self._small is not None, other_data=self._settings.other_data
        )

    def _slug(self, cell):
        made = {"width": self._settings.width, "source": self._scale, "fewer": self._table.fewer}
        return settings.slug(
            cell.config, settings.of_training(cell.overrides) | made | (self._table.small or {})
        )

    def _train(self, cell, config, workdir):
        config = config.copy_and_resolve_references()
        if settings.is_of_a_head(cell):
            network = self._network_below(cell)
            config.training.network_from = str(network.workdir)
        say(f"{cell.row.label}: training {workdir}")
        if not train.run(config, workdir):
            raise SystemExit(0)

    def _network_below(self, cell):
        """The Found of the network on which the head of a cell is trained."""
        overrides = settings.below_the_head(cell.row.overrides)
        below = dataclasses.replace(
            cell.row,
            overrides=overrides,
            label=f"{cell.row.label}, network",
        )
        return self._run_of(dataclasses.replace(cell, row=below))

    def _miss(self, cell, reason, run=None):
        own = cell.row.label if reason != "no run" else settings.of_training(cell.overrides)
        key = (reason, cell.config, str(own))
        self._missing.setdefault(key, _Missing([], reason)).cells.append(cell)

    def _missing_lines(self):
        """[(title, reason, command lines)]."""
        without = sum(missing.reason == "no run" for missing in self._missing.values())
        if without and self._settings.costs:
            say(
                f"estimating what {without} trainings and their samples cost; table.costs=False leaves it out"
            )
        for missing in self._missing.values():
            cell = missing.cells[0]
            rows = dict.fromkeys(c.row.label if c.row.config else c.name for c in missing.cells)
            title = "; ".join(rows)
            if missing.reason != "no run":
                yield title, f"{', '.join(c.column.title for c in missing.cells)}: {missing.reason}", []
                continue
            # At a small scale the command of the table trains, too.
            trainings = [] if self._small else settings.training_commands(cell, self._runs)
            yield title, self._why(missing.cells), [*trainings, self._command]

    def _why(self, cells):
        """What is said of cells without a run: what is nearest, and what it would cost."""
        wanted = self._wanted(cells[0])
        lines = [f"no run of configs/{cells[0].config}.py below {self._runs}"]
        near = found_runs.nearest(wanted, self._found, self._settings.other_data)
        if near:
            run, differing = near
            line = f"{run.workdir} differs in {found_runs.told(differing)}"
            if found_runs.of_training(wanted, [run], other_data=True):
                line += ": table.other_data=True takes it where these are the same images"
            lines.append(line)
        lines.append(self._cost(cells, wanted))
        return "; ".join(lines)

    def _cost(self, cells, wanted):
        said = None if self._small else cost.said_on_the_page(cells[0].config)
        training = f'training, by its page: "{said}"' if said else None
        if not self._settings.costs:
            return training or "its page says no hours; with table.costs they are estimated"
        if wanted.data.image_size is None:
            return training or "hours unknown: so is the side of its images"
        forward = cost.forward_operations(wanted)
        if training is None:
            training = f"training, estimated, {cost.training_hours(wanted, forward):.0f} device hours"
        configs = (
            settings.measured_config(wanted, cell) for cell in cells if cell.column.metric in OF_SAMPLES
        )
        # FID and Inception Score of one sampler are of the same samples.
        samplers = {config.sampling.to_json(): config for config in configs}
        calls = [cost.network_calls(config) for config in samplers.values()]
        if not calls:
            return training
        if None in calls:
            return f"{training}; samples: hours unknown, their sampler chooses its calls on the way"
        sets, samples = self._measure.count(cells[0]), self._measure.samples(cells[0])
        fewer = self._table.fewer if self._small else 1
        calls = [round(n / fewer) for n in calls]
        listed = ", ".join(str(n) for n in dict.fromkeys(calls))
        return (
            f"{training}; {sets} x {samples} samples with {listed} calls, estimated, "
            f"{cost.hours(forward * sum(calls) * samples * sets):.1f} device hours "
            f"({forward / 1e9:.1f} GFLOP a call, {cost.SUSTAINED / 1e12:.0f} TFLOP/s sustained)"
        )

    def _write(self, whole=True):
        arguments, text = (self._name, self._table, self._cells, self._figures), self._text(whole)
        self._results.write("table.md", lambda path: Path(path).write_text(text))
        csv = page.table_csv(self._cells, self._figures)
        self._results.write("table.csv", lambda path: Path(path).write_text(csv))
        if self._figures:
            self._results.write("table.png", page.picture, *arguments, self._scale)
        self._results.json(
            "table.json",
            {
                "table": self._name,
                "scale": self._scale,
                "cells": {
                    cell.name: {
                        "published": cell.value,
                        "mark": cell.mark.value,
                        **dataclasses.asdict(self._figures[id(cell)]),
                    }
                    for cell in self._cells
                    if id(cell) in self._figures
                },
            },
        )

    def _how(self, figures):
        if not figures:
            return "nothing yet."
        counts = sorted({(m.by, m.n, m.sets, m.what) for m in figures})
        parts = [
            f"{by or 'likelihoods'}, n={n:,}, {sets} {'set' if sets == 1 else 'sets'}, ± {what}"
            for by, n, sets, what in counts
        ]
        parts.append(page.repeats_note(self._table, max(m.sets for m in figures)))
        return "; ".join(part for part in parts if part) + "."
