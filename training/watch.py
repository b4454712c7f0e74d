"""The metrics of past steps, what is done where they are not finite, and where the time of the loop goes."""

import contextlib
import time

import jax
import numpy as np

from components import UserError
from training import levels

# Compiled calls that may wait in the devices' queues; bounds the time to answer a signal.
CALLS_IN_FLIGHT = 4


class TrainingError(UserError):
    """Training went wrong and goes no further."""


class MetricsWatch:
    """Fetches the metrics of past steps from the devices and refuses those that are not finite.

    Args:
      edges: [intervals + 1] of the losses by noise level, see training/levels.py.
    """

    def __init__(self, edges):
        self._edges = np.asarray(edges)
        self._pending, self._rows, self._recent = [], [], []

    def add(self, first_step, metrics):
        """Remembers the metrics [n, ...] of steps from `first_step` on, without waiting for the newest."""
        self._pending.append((first_step, metrics))
        if len(self._pending) > CALLS_IN_FLIGHT:
            jax.block_until_ready(self._pending[-CALLS_IN_FLIGHT - 1])

    def check(self):
        """Waits for all steps so far.

        Raises:
          TrainingError: a loss or gradient is NaN or infinite; names the first such step.
        """
        for first_step, metrics in jax.device_get(self._pending):
            for i in range(len(metrics["loss"])):
                row = {name: values[i] for name, values in metrics.items()}
                if not all(np.isfinite(value).all() for value in row.values()):
                    raise TrainingError(self._advice(first_step + i, row))
                self._rows.append(row)
                self._recent = [*self._recent[-4:], row["loss"]]
        self._pending = []

    def means(self):
        """{name: value} of the mean of each metric since the last call, and of the losses by noise level."""
        self.check()
        rows, self._rows = self._rows, []
        by_level = np.sum([row.pop("by_level") for row in rows], axis=0)
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        return means | levels.means(self._edges, by_level)

    def _advice(self, step, row):
        before = ", ".join(f"{loss:.4g}" for loss in self._recent) or "none"
        return (
            f"Step {step}: loss={row['loss']}, gradient_norm={row['gradient_norm']}; losses before: "
            f"{before}. Nothing was saved since. "
            "Resume with a lower optim.learning_rate, optim.grad_clip=1 or "
            'model.dtype="float32", which the checkpoints allow, or start anew with a longer optim.warmup; '
            "--mode=inspect shows the range of the data."
        )


class Stopwatch:
    """Where the time of a loop goes: waiting for data, other work of the host, and steps: the rest."""

    def __init__(self):
        self._begun, self._spent = time.monotonic(), {}

    @contextlib.contextmanager
    def of(self, what):
        """Counts the time within the block as that of "data" or the "host"."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._spent[what] = self._spent.get(what, 0.0) + time.monotonic() - begun

    def split(self, steps):
        """{name: seconds a step} since the last call, in which there were so many steps."""
        now = time.monotonic()
        spent, whole = {"data": 0.0, "host": 0.0} | self._spent, now - self._begun
        self._begun, self._spent = now, {}
        parts = {"step": whole - sum(spent.values()), **spent}
        return {f"seconds_{name}": value / steps for name, value in parts.items()}
