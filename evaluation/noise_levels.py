"""Measurements at one noise level after the other: shared by processes, resumed where they stopped."""

import json

import jax
import numpy as np

import data
from evaluation.held_out import subset
from workdir.checkpoints import checksum


def training_examples(config, setup, count, purpose):
    """`count` examples of the training data, as HeldOut holds them, or draws of a mixture."""
    if setup.mixture is not None:
        draw = jax.jit(setup.mixture.sample, static_argnums=1)
        return {"image": np.asarray(draw(setup.key(purpose), count))}
    return subset(data.create(config.data, "train"), count)


def identity_of(setup, record, params, config, examples):
    """What every measurement of a model on data says about both.

    Args:
      record: of the checkpoint; params: of the denoiser.
      examples: as HeldOut holds them.
    """
    about = {
        "step": record["step"],
        "parameters": checksum(params),
        "seed": config.seed,
        "sde": repr(setup.sde),
        "transform": repr(setup.transform),
        "denoiser": config.denoiser.to_dict(),
        "examples": len(examples["image"]),
        "data": checksum(examples),
    }
    return json.loads(json.dumps(about))
