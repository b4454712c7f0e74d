"""Several processes: who writes, and waiting for each other."""

import jax
import numpy as np

from components import UserError


def is_first():
    """Whether this is process 0, which alone writes results, records and pictures, and prints reports."""
    return jax.process_index() == 0


def wait_for_all(name):
    """Returns when every process has come here; at once where there is one alone."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def decided_by_first(action):
    """Calls `action()` on process 0 alone; if it raises there, every process stops.

    Raises:
      Exception: on process 0, what the action raised.
      UserError: elsewhere, that it raised.
    """
    if jax.process_count() == 1:
        action()
        return
    from jax.experimental import multihost_utils

    error = None
    if is_first():
        try:
            action()
        except Exception as raised:
            error = raised
    refused = bool(multihost_utils.broadcast_one_to_all(np.bool_(error is not None)))
    if error is not None:
        raise error
    if refused:
        raise UserError("process 0 was refused, see its message; this process stops with it")
