"""Runs with so small a network that hundreds of their checkpoints are written and read in seconds."""

import jax
import numpy as np
import optax

from configs import base
from experiment.create import resolved
from training.state import create
from workdir.checkpoints import Checkpoints
from workdir.files import write_json

CONFIG = resolved(base.get_config())


def small_state(step):
    rng = np.random.default_rng(step)
    params = {
        "first": {"kernel": rng.standard_normal((3, 300), dtype=np.float32)},
        "second": {"bias": rng.standard_normal(1000, dtype=np.float32)},
    }
    return jax.device_get(create(params, optax.adam(1e-3), ["0.999"])).replace(step=np.int32(step))


def small_run(folder, steps):
    """A run with checkpoints of so small a network that a thousand of them are read in a minute."""
    config = base.get_config()
    config.checkpoint.keep = len(steps)
    checkpoints = Checkpoints(folder, resolved(config))
    for step in steps:
        checkpoints.save(small_state(step))
    checkpoints.finish()
    checkpoints.close()
    write_json(folder / "config.json", {"config": config.to_dict(), "provenance": {}})
    return folder
