"""Measurements at one noise level after the other: shared by processes, resumed where they stopped."""

import json

import jax
import numpy as np

from components import UserError
from evaluation.held_out import subset
from experiment.run_data import data_of
from workdir.files import checksum


def training_examples(run, count, purpose, least=1):
    """`count` examples of the training data of a Run, as HeldOut holds them, or draws of a mixture.

    Raises:
      ConfigError: the data has changed since the run was trained.
      UserError: the training data has fewer than `least`.
    """
    experiment = run.experiment
    if experiment.mixture is not None:
        draw = jax.jit(experiment.mixture.sample, static_argnums=1)
        return {"image": np.asarray(draw(experiment.key(purpose), count))}
    source = data_of(run, held=False).train
    if len(source) < least:
        raise UserError(
            f'data.source="{run.config.data.source}" has {len(source)} training image, and a standard error '
            f"takes {least}. Use more images."
        )
    return subset(source, count)


def identity_of(experiment, checkpoint, params, config, examples):
    """What every measurement of a model on data says about both.

    Args:
      checkpoint: of the checkpoint; params: of the denoiser.
      examples: as HeldOut holds them.
    """
    origin = {
        "step": checkpoint["step"],
        "parameters": checksum(params),
        "seed": config.seed,
        "sde": repr(experiment.sde),
        "transform": repr(experiment.transform),
        "denoiser": config.denoiser.to_dict(),
        "examples": len(examples["image"]),
        "data": checksum(examples),
    }
    return json.loads(json.dumps(origin))


def measure(partial, levels, of_level, what, finite=True):
    """Arrays [levels, ...] filled row by row; the processes measure levels in turn, on their own devices.

    Args:
      partial: Partial of this measurement; the caller finishes it.
      of_level: level -> dict of one row for each array.
      what: word for the progress bar.
      finite: whether a row that is not finite is refused.

    Raises:
      UserError: a row that is not finite.
    """

    def of_rows(rows):
        (level,) = rows.tolist()
        row = of_level(level)
        if finite and not all(np.isfinite(values).all() for values in row.values()):
            raise UserError(
                f"{what}: not finite at level {level} of {levels}. Train longer, or see "
                "--mode=eval --config.eval.evaluators=diagnostics."
            )
        return {name: np.asarray(values)[None] for name, values in row.items()}

    partial.fill(levels, 1, of_rows, what, "level", "levels were done")
    return partial.merged(levels)
