"""Measurements at one noise level after the other: shared by processes, resumed where they stopped."""

import json

import jax
import numpy as np

import data
from creation import UserError
from evaluation.held_out import subset
from evaluation.likelihoods import Unfinished
from training import parallel
from training.checkpoints import checksum
from training.logging import Progress, say


def training_examples(config, setup, count, purpose):
    """uint8 images of the training data, or draws of a mixture, [count, ...]."""
    if setup.mixture is not None:
        return np.asarray(jax.jit(setup.mixture.sample, static_argnums=1)(setup.key(purpose), count))
    return subset(data.create(config.data, "train"), count)


def measure(path, identity, shapes, of_level, what):
    """Arrays [levels, ...] filled row by row; each process measures every n-th level, on its own devices.

    Args:
      path: of the unfinished results, in a folder that all processes share; see `remove`.
      identity: JSON-able description of what is measured; results of anything else are dropped.
      shapes: dict from name to shape, all with the same number of levels in front.
      of_level: level -> dict of one row for each array.
      what: word for the progress bar.

    Returns:
      dict of arrays, on every process.
    """
    levels = next(iter(shapes.values()))[0]
    empty = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
    own = Unfinished(_part(path, jax.process_index()), identity, empty)
    found = own.arrays

    def missing(arrays):
        return np.any([np.isnan(a).reshape(levels, -1).any(axis=1) for a in arrays.values()], axis=0)

    def rows_of(process):
        return np.arange(levels)[process :: jax.process_count()]

    mine = rows_of(jax.process_index())
    todo = mine[missing(found)[mine]]
    if len(todo) < len(mine):
        say(f"{what}: {len(mine) - len(todo)} levels were done before")
    progress = Progress(len(mine), "level", what, initial=len(mine) - len(todo))
    for level in todo:
        for name, row in of_level(level).items():
            found[name][level] = row
        own.save(now=False)
        progress.update(1)
    progress.close()
    own.save()
    parallel.wait_for_all(what)
    # Each file holds the rows of its process alone.
    merged = {name: a.copy() for name, a in empty.items()}
    for process in range(jax.process_count()):
        part, rows = Unfinished(_part(path, process), identity, empty).arrays, rows_of(process)
        for name, a in part.items():
            merged[name][rows] = a[rows]
    if missing(merged).any():
        raise UserError(
            f"{what}: not finite at levels {np.flatnonzero(missing(merged)).tolist()[:10]}. Train longer, or "
            "see --config.eval.diagnostics=True."
        )
    return merged


def _part(path, process):
    return path.with_name(f"{path.name}.parts-{process}.npz")


def remove(path):
    """Deletes the unfinished results, once the finished ones are written."""
    for part in path.parent.glob(f"{path.name}.parts-*.npz"):
        part.unlink()


def identity_of(setup, record, params, config, examples):
    """What every measurement of a model on data says about both.

    Args:
      record: of the checkpoint; params: of the denoiser.
      examples: [N, ...] uint8 images, or data of a mixture.
    """
    about = {
        "step": record["step"],
        "parameters": checksum(params),
        "seed": config.seed,
        "sde": repr(setup.sde),
        "transform": repr(setup.transform),
        "denoiser": config.denoiser.to_dict(),
        "examples": len(examples),
        "data": checksum({"examples": examples}),
    }
    return json.loads(json.dumps(about))
