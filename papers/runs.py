"""Which of the runs in a folder is the model of a row: by the configs that they were trained with."""

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from components import UserError
from configs import base
from experiment.create import resolved
from workdir import storage, strict_json
from workdir.checkpoints import Checkpoints
from workdir.compatibility import FROM_SOURCE, NOT_STORED, OF_THE_MODEL
from workdir.records import say
from workdir.saved_config import leaves, read_config

# Beginnings of the fields that tell one training from another, where published tables do.
_TELLING = (
    *(path for path in OF_THE_MODEL if not path.startswith("ema.")),
    "loss.",
    "data.augmentation",
    "data.dequantize",
    "data.random_flip",
    "data.source",
)
_NOT_TELLING = (*(set(NOT_STORED) - {"data.source"}), "data.classes", "data.pixel_values")
# Beginnings of further fields of a training: a run where they are others may stand for it, which is said.
_SAID = (
    *("data.background", "data.crop", "data.holdout", "data.resize", "data.source"),
    *("ema.", "model.dropout", "model.dtype", "optim.", "training.batch_size"),
)
_NOT_SAID = ("ema.reconstruct_std", "ema.reconstruct_step", "ema.snapshot_every")


@dataclass(frozen=True)
class Found:
    """A run.

    Attributes:
      workdir: Path; config: ConfigDict that it was trained with; steps: of its checkpoints, increasing.
      imported: whether its weights are those of a published file.
    """

    workdir: Path
    config: ConfigDict
    steps: tuple[int, ...]
    imported: bool = False


def _workdirs(folder):
    """The folders below `folder` that hold a run, in order of their names; none lies within another."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        if "config.json" in files:
            folders.clear()
            yield Path(place)


def require_folder(folder):
    """Raises UserError where there is no such folder."""
    if not Path(folder).is_dir():
        raise UserError(f"--runs={folder} is no folder. Give the one in which the workdirs of runs lie.")


def in_folder(folder):
    """The Found of all runs below a folder that have a checkpoint.

    Raises:
      UserError: there is no such folder.
    """
    require_folder(folder)
    found = []
    for workdir in _workdirs(folder):
        try:
            config = read_config(workdir, base.get_config())
            steps = tuple(sorted(_steps(workdir, config)))
            imported = "imported" in strict_json.loads(storage.read_text(workdir / "config.json"))
        except UserError as error:
            say(f"note: {workdir} is left out: {error}")
            continue
        if steps:
            found.append(Found(workdir, config, steps, imported))
    return found


def _steps(workdir, config):
    checkpoints = Checkpoints(workdir, resolved(config), read_only=True)
    try:
        return checkpoints.all_steps()
    finally:
        checkpoints.close()


def _differing(wanted, config, is_compared):
    """{path: (wanted, found)} of the fields of two configs that are compared and are not equal."""
    a, b = dict(leaves(resolved(wanted))), dict(leaves(resolved(config)))
    return {
        path: (value, b[path]) for path, value in a.items() if is_compared(path, value) and value != b[path]
    }


def differences(wanted, config, other_data=False):
    """{path: (wanted, found)} of the fields in which a run's config is none of the wanted training.

    Args:
      other_data: whether another `data.source` is none.
    """

    def is_compared(path, value):
        if path == "data.source":
            return not other_data
        # What the data source alone knows stands in the config of a run, and need not in a file.
        from_source = path.removeprefix("data.") in FROM_SOURCE and value is None
        return path.startswith(_TELLING) and path not in _NOT_TELLING and not from_source

    return _differing(wanted, config, is_compared)


def deviations(wanted, run):
    """{path: (wanted, found)} of what else is not as in the wanted training of a run that stands for it."""
    found = _differing(wanted, run.config, lambda path, _: path.startswith(_SAID) and path not in _NOT_SAID)
    steps = wanted.training.steps
    # The steps of a published file are counted in the units of its authors, or not known.
    if not run.imported and run.steps[-1] != steps:
        found["training.steps"] = (steps, run.steps[-1])
    return found


def of_training(wanted, runs, any_length=False, other_data=False):
    """The Found of a training with the checkpoints that may stand for it; None where there is none.

    Where there are several it is the one that has come furthest, to a tenth of the way, and of these the one
    with the fewest `deviations`. A checkpoint beyond the paper's number of steps is another model, and one
    before it a deviation.

    Args:
      any_length: whether checkpoints beyond `training.steps` are taken, too.
      other_data: whether a run of another `data.source` is.
    """
    matching = []
    for run in runs:
        far = any_length or run.imported
        steps = tuple(step for step in run.steps if far or step <= wanted.training.steps)
        if steps and not differences(wanted, run.config, other_data):
            matching.append(dataclasses.replace(run, steps=steps))

    def preference(run):
        part = 1.0 if run.imported else min(run.steps[-1] / wanted.training.steps, 1.0)
        return math.floor(10 * part), -len(deviations(wanted, run)), run.steps[-1]

    return max(matching, key=preference, default=None)


def nearest(wanted, runs, other_data=False, most=3):
    """(Found, differences) of the run that is nearest to a training and is not it; None if none is near."""
    pairs = []
    for run in runs:
        # A run without a difference has none but checkpoints beyond the paper's steps.
        beyond = {"training.steps": (wanted.training.steps, run.steps[0])}
        pairs.append((run, differences(wanted, run.config, other_data) or beyond))
    near = [pair for pair in pairs if len(pair[1]) <= most]
    return min(near, key=lambda pair: len(pair[1]), default=None)


def told(differing):
    """A line on {path: (wanted, found)}.

    >>> told({"training.steps": (9, 4)})
    'training.steps=4, not 9'
    """
    return ", ".join(f"{path}={has!r}, not {wants!r}" for path, (wants, has) in differing.items())
