"""Measurements at one noise level after the other: shared by processes, resumed where they stopped."""

import json

import jax
import numpy as np

import data
from evaluation.held_out import subset
from workdir.files import checksum


def training_examples(config, setup, count, purpose):
    """uint8 images of the training data, or draws of a mixture, [count, ...]."""
    if setup.mixture is not None:
        return np.asarray(jax.jit(setup.mixture.sample, static_argnums=1)(setup.key(purpose), count))
    return subset(data.create(config.data, "train"), count)


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
