"""The metrics of past steps, and what is done where they are not finite."""

import math

import jax
import numpy as np

from components import UserError

# Compiled calls that may wait in the devices' queues; bounds the time to answer a signal.
CALLS_IN_FLIGHT = 4


class TrainingError(UserError):
    """Training went wrong and goes no further."""


class MetricsWatch:
    """Fetches the metrics of past steps from the devices and refuses those that are not finite."""

    def __init__(self):
        self._pending, self._rows, self._recent = [], [], []

    def add(self, first_step, metrics):
        """Remembers the metrics [n] of the steps from `first_step` on, without waiting for the newest."""
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
                row = {name: float(values[i]) for name, values in metrics.items()}
                if not all(map(math.isfinite, row.values())):
                    raise TrainingError(self._advice(first_step + i, row))
                self._rows.append(row)
                self._recent = [*self._recent[-4:], row["loss"]]
        self._pending = []

    def means(self):
        """The mean of each metric since the last call."""
        self.check()
        rows, self._rows = self._rows, []
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def _advice(self, step, row):
        before = ", ".join(f"{loss:.4g}" for loss in self._recent) or "none"
        return (
            f"Step {step}: loss={row['loss']}, gradient_norm={row['gradient_norm']}; losses before: "
            f"{before}. Nothing was saved since. "
            "Resume with a lower optim.learning_rate, optim.grad_clip=1 or "
            'model.dtype="float32", which the checkpoints allow, or start anew with a longer optim.warmup; '
            "--mode=inspect shows the range of the data."
        )
