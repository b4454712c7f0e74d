"""The measured figure of a Cell, by the evaluators of --mode=eval; what is finished is not measured again."""

import dataclasses
from pathlib import Path

import numpy as np

from components import UserError
from denoisers.variance import MOMENTS_FILE
from evaluation.evaluator import Evaluation
from evaluation.evaluators import EVALUATORS
from evaluation.features import create_extractor
from evaluation.sample_quality import (
    described,
    described_reference,
    reference_of,
    sample_quality,
    unmeasurable,
)
from experiment import create, load
from experiment.run_data import data_of
from modes import optimal_grid, variance
from papers import settings
from papers.published import Checkpoint, Metric, Repeats
from papers.quality import PixelQuality
from samplers.optimal_grid import PAIR_COSTS_FILE
from workdir.files import checksum, read_measured

# Of each cell at a small scale: samples of a set, sets, and images of likelihoods.
SMALL_SAMPLES, SMALL_SETS, SMALL_IMAGES = 256, 2, 128
READS = ("restore", "data", "sampling", "eval")
# How a metric is called among the figures of eval.sample_quality.
OF_SAMPLES = {
    Metric.FID: "fid",
    Metric.INCEPTION_SCORE: "inception_score",
    Metric.PRECISION: "precision",
    Metric.RECALL: "recall",
}
_GROUPS = {"precision": "precision_recall", "recall": "precision_recall"}


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured of a cell.

    Attributes:
      value: with the settings of the paper as far as they are chosen here: of the last checkpoint.
      error: standard deviation over sets of samples, or the standard error of a likelihood; None: unknown.
      what: of which of them `error` is.
      least: the smallest of several sets, where the paper prints that one; else None.
      by_checkpoint: {step: value} where the paper takes the best of several.
      n: samples, or images; sets: of them.
      step: of the checkpoint; workdir: of the run.
      others: {name: value} of further figures of the same samples.
      by: whose features made it, and beside what reference; "" for likelihoods.
      nfe: network calls a sample, or None.
      deviations: what of its training is not the paper's, as text.
    """

    value: float
    error: float | None
    what: str
    n: int
    sets: int
    step: int
    workdir: str
    least: float | None = None
    by_checkpoint: dict = dataclasses.field(default_factory=dict)
    others: dict = dataclasses.field(default_factory=dict)
    nfe: float | None = None
    by: str = ""
    deviations: str = ""


class Measure:
    """Measures cells of runs.

    Args:
      folder: of the table's results, in which finished figures are kept.
      table: the subtree `table` of the config.
      subtrees: {name: ConfigDict} that take the place of `eval.name`.
      small: whether samples are judged by their pixels.
    """

    def __init__(self, folder, table, subtrees, small):
        self._folder, self._table, self._subtrees, self._small = Path(folder), table, subtrees, small
        self._loaded, self._data, self._extractor = {}, {}, None

    def __call__(self, cell, run, sde):
        """The Measured of a cell.

        Args:
          run: papers.runs.Found; sde: ConfigDict of the process that is measured.
        """
        folder = self._folder / run.workdir.name
        if cell.column.metric in OF_SAMPLES:
            return self._of_samples(cell, run, sde, folder)
        config = self._config(cell, run, sde, folder)
        of_flow = cell.column.metric is Metric.BITS_PER_DIM
        evaluator = EVALUATORS["bits_per_dim" if of_flow else "discrete_bound"]
        entry = self._evaluation(config, run, run.steps[-1], folder).entry(evaluator)
        found = entry.get("model", {}) if of_flow else entry
        if "value" not in found:
            raise UserError(f"{cell.name} of {run.workdir}: {'; '.join(entry['left_out'].values())}")
        images = found["images"] if of_flow else min(config.eval.bound.images, config.eval.max_images)
        return Measured(
            found["value"],
            found["standard_error"],
            "standard error over images",
            images,
            config.eval.bits_per_dim.dequantizations if of_flow else 1,
            run.steps[-1],
            str(run.workdir),
        )

    def _of_samples(self, cell, run, sde, folder):
        of_several = cell.table.protocol.checkpoint in (Checkpoint.LEAST_FID, Checkpoint.LEAST_FID_1000)
        steps = run.steps if of_several and self._table.checkpoints == "kept" else run.steps[-1:]
        config = self._config(cell, run, sde, folder)
        name = self._name(cell, config)
        # Figures by step, of each set of samples.
        draw = self._small_sets if self._small else self._sets
        by_step = draw(cell, run, config, folder, steps)
        entries = by_step[steps[-1]]
        values = [_value(entry, name) for entry in entries]
        several = len(values) > 1
        means = {step: float(np.mean([_value(e, name) for e in found])) for step, found in by_step.items()}
        return Measured(
            means[steps[-1]],
            float(np.std(values, ddof=1)) if several else entries[0][name].get("standard_error"),
            "standard deviation over sets" if several else "standard error",
            int(entries[0][name]["n"]),
            len(values),
            steps[-1],
            str(run.workdir),
            min(values) if several and cell.table.protocol.repeats is Repeats.LEAST_OF_3 else None,
            means if len(steps) > 1 else {},
            _others(entries, name),
            entries[0]["nfe"],
            entries[0].get("by", "pixels, against the training images"),
        )

    def _name(self, cell, config):
        """What the figure of a cell is called among metrics: the name FID is Inception's alone."""
        name = OF_SAMPLES[cell.column.metric]
        of_others = self._small or config.eval.features.name != "inception"
        return "frechet_distance" if name == "fid" and of_others else name

    def count(self, cell):
        """How many sets of samples are drawn for a cell."""
        if self._table.seeds is not None:
            return self._table.seeds
        return SMALL_SETS if self._small else cell.table.protocol.repeats.count

    def samples(self, cell):
        """How many samples are drawn for each set."""
        if self._table.samples is not None:
            return self._table.samples
        return SMALL_SAMPLES if self._small else cell.table.protocol.samples

    def _sets(self, cell, run, config, folder, steps):
        """{step: figures of each set} by the evaluator sample_quality."""
        quality = config.eval.sample_quality
        quality.num_samples, quality.keep_features = self.samples(cell), False
        quality.seeds = tuple(config.seed + number for number in range(self.count(cell)))
        quality.steps = steps
        if self._extractor is None:
            self._extractor = create_extractor(config.eval.features)
        evaluation = self._evaluation(config, run, steps[-1], folder)
        reference = reference_of(config, evaluation.opened, self._extractor, evaluation.run.checkpoint)
        quality.metrics = self._metrics(cell, config, reference, evaluation.experiment.shape)
        entry = sample_quality(evaluation.run, config, folder, reference=reference)
        by = f"{described(entry['extractor'])}, against {described_reference(entry['reference'])}"
        found = {step: [] for step in steps}
        for setting in entry["settings"]:
            found[setting["step"]].append({**setting["figures"], "nfe": setting["nfe"], "by": by})
        return found

    def _metrics(self, cell, config, reference, shape):
        """Names of the metrics of a cell, and of those in its row that are of the same samples."""

        def metric(cell):
            name = self._name(cell, config)
            return _GROUPS.get(name, name)

        def drawn(cell):
            return cell.config, settings.of_measurement(cell.overrides)

        alike = [
            metric(other)
            for other in cell.table.cells()
            if other.row is cell.row and other.column.metric in OF_SAMPLES and drawn(other) == drawn(cell)
        ]
        all_of_row = config.copy_and_resolve_references()
        all_of_row.eval.sample_quality.metrics = tuple(dict.fromkeys(alike))
        without = unmeasurable(all_of_row, reference.extractor, reference.features, shape)
        own = metric(cell)
        if own in without:
            raise UserError(without[own])
        return tuple(n for n in dict.fromkeys(alike) if n == own or n not in without)

    def _small_sets(self, cell, run, config, folder, steps):
        """{step: figures of each set} by their pixels; only of the last checkpoint."""
        config.eval.sample_quality.num_samples = self.samples(cell)
        compiled, entries = None, []
        for number in range(self.count(cell)):
            of_set = config.copy_and_resolve_references()
            of_set.seed = config.seed + number
            evaluation = self._evaluation(of_set, run, steps[-1], folder)
            # Sets differ in their seed alone: one compiled sampler draws them all.
            compiled = compiled or evaluation.samples
            evaluation = dataclasses.replace(evaluation, drawn=compiled.with_seed(of_set.seed))
            entries.append(evaluation.entry(PixelQuality()))
        return {steps[-1]: entries}

    def _config(self, cell, run, sde, folder):
        """The config of a measurement, with the files that it needs measured before."""
        config = settings.measured_config(run.config, cell, sde, workdir=folder)
        for name, subtree in self._subtrees.items():
            config.eval[name] = subtree.copy_and_resolve_references()
        if self._small:
            config.sampling.steps = (config.sampling.steps + 1) // cell.table.fewer - 1
            config.variance.update({"levels": 200, "batch_size": 256})
            config.sampling.batch_size = self._table.batch_size or 256
            config.eval.batch_size = 128
            config.eval.bits_per_dim.dequantizations = 1
            config.eval.max_images = config.eval.bound.images = self._table.images or SMALL_IMAGES
            if config.eval.bound.decoder is None and not config.data.dequantize:
                config.eval.bound.decoder = "pixels"
        elif self._table.batch_size:
            config.sampling.batch_size = config.eval.batch_size = self._table.batch_size
        if self._table.images and not self._small:
            config.eval.max_images = config.eval.bound.images = self._table.images
        needed = str(cell.overrides)
        if "{workdir}/variance.npz" in needed:
            self._measure_variance(config, run, folder)
        if "{workdir}/optimal_grid.npz" in needed:
            self._measure_grid(config, run, folder)
        return config

    def _measure_variance(self, config, run, folder):
        """Has folder/variance.npz measured for these parameters."""
        path = folder / "variance.npz"
        if self._origin(path, MOMENTS_FILE).get("parameters") != self._parameters(run):
            of_run = run.config.copy_and_resolve_references()
            of_run.variance = config.variance.copy_and_resolve_references()
            variance.run(of_run, run.workdir, output=folder)

    def _measure_grid(self, config, run, folder):
        """Has folder/optimal_grid.npz measured for these parameters and this variance."""
        path = folder / "optimal_grid.npz"
        wanted = (self._parameters(run), config.eval.bound.variance.name)
        origin = self._origin(path, PAIR_COSTS_FILE)
        if (origin.get("parameters"), origin.get("variance")) != wanted:
            of_run = run.config.copy_and_resolve_references()
            of_run.eval = config.eval.copy_and_resolve_references()
            of_run.eval.bound.grid = "uniform"
            optimal_grid.run(of_run, run.workdir, output=folder)

    def _origin(self, path, kind):
        return read_measured(path, kind, "the file").origin if path.exists() else {}

    def _parameters(self, run):
        return checksum(self._load(run, run.steps[-1]).params)

    def _load(self, run, step):
        if (run.workdir, step) not in self._loaded:
            config = run.config.copy_and_resolve_references()
            config.restore.step = step
            self._loaded = {(run.workdir, step): load(run.workdir, config, ("restore",))}
        return self._loaded[run.workdir, step]

    def _evaluation(self, config, run, step, folder):
        loaded = self._load(run, step)
        config.data = loaded.config.data.copy_and_resolve_references()
        config.restore.step = step
        found = dataclasses.replace(loaded, config=config, experiment=create(config, READS))
        if run.workdir not in self._data:
            self._data = {run.workdir: data_of(found)}
        return Evaluation(found, folder, self._data[run.workdir])


def _value(entry, name):
    """The value of a figure.

    Raises:
      UserError: it was left out; says why.
    """
    if "value" not in entry.get(name, {}):
        reason = entry.get(name, {}).get("left_out") or entry.get("left_out")
        raise UserError(f"there is no {name} of these samples: {reason}")
    return entry[name]["value"]


def _others(entries, name):
    """{name: mean over sets} of the other figures, and those of real images as `real_...`."""
    names = [n for n, found in entries[0].items() if isinstance(found, dict) and "value" in found]
    others = {n: float(np.mean([_value(entry, n) for entry in entries])) for n in names if n != name}
    real = entries[0].get("real", {})
    return others | {f"real_{n}": found["value"] for n, found in real.items()}
