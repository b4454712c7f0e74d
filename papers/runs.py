"""Which of the runs in a folder is the model of a row: by the configs that they were trained with."""

import os
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from components import UserError
from configs import base
from experiment.create import resolved
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
)
_NOT_TELLING = (*NOT_STORED, "data.classes", "data.pixel_values")


@dataclass(frozen=True)
class Found:
    """A run.

    Attributes:
      workdir: Path; config: ConfigDict that it was trained with; steps: of its checkpoints, increasing.
    """

    workdir: Path
    config: ConfigDict
    steps: tuple[int, ...]


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
        except UserError as error:
            say(f"note: {workdir} is left out: {error}")
            continue
        if steps:
            found.append(Found(workdir, config, steps))
    return found


def _steps(workdir, config):
    checkpoints = Checkpoints(workdir, resolved(config), read_only=True)
    try:
        return checkpoints.all_steps()
    finally:
        checkpoints.close()


def differences(wanted, config):
    """{path: (wanted, found)} of the fields in which a run's config is none of the wanted training."""
    a, b = dict(leaves(resolved(wanted))), dict(leaves(resolved(config)))
    found = {}
    for path, value in a.items():
        telling = path.startswith(_TELLING) and path not in _NOT_TELLING
        # What the data source alone knows stands in the config of a run, and need not in a file.
        from_source = path.removeprefix("data.") in FROM_SOURCE and value is None
        if telling and not from_source and value != b[path]:
            found[path] = (value, b[path])
    return found


def of_training(wanted, runs):
    """The run of a training, the furthest one where there are several; None where there is none."""
    matching = [run for run in runs if not differences(wanted, run.config)]
    return max(matching, key=lambda run: run.steps[-1], default=None)


def nearest(wanted, runs, most=3):
    """(Found, differences) of the run that is nearest to a training and is not it; None if none is near."""
    pairs = [(run, differences(wanted, run.config)) for run in runs]
    near = [pair for pair in pairs if 0 < len(pair[1]) <= most]
    return min(near, key=lambda pair: len(pair[1]), default=None)
