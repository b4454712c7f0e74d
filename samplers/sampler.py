"""What draws samples: a table with its corrector, or a method that chooses its own steps."""

from typing import Any

import flax.struct
import jax
import numpy as np

from denoisers import chain
from samplers.table import Table, sample


@flax.struct.dataclass
class TableSampler:
    """A table and the corrector that acts between its rows.

    Attributes:
      table: float64 coefficients.
      corrector: object with `step` and `calls`, or None.
    """

    table: Table
    corrector: Any = flax.struct.field(pytree_node=False, default=None)

    @property
    def times(self):
        """[K] of the calls."""
        return self.table.times

    def draw(self, keys, sde, denoise, shape, keep=None):
        """Runs the table; see `table.sample`."""
        return sample(keys, sde, denoise, shape, self.table, self.corrector, keep)


@flax.struct.dataclass
class Sampler:
    """Everything between a denoiser and samples; a pytree whose leaves are numbers of a table.

    Attributes:
      method: TableSampler, or another object with `times` and `draw`.
      wrappers: functions denoise -> denoise, applied in this order.
    """

    method: Any
    wrappers: tuple = ()

    @property
    def table(self):
        """The Table, or None where steps are chosen on the way."""
        return getattr(self.method, "table", None)

    @property
    def nfe(self):
        """Network calls a sample, or None where they are chosen on the way."""
        if self.table is None:
            return None
        corrector = self.method.corrector
        return self.table.rows * (1 + (corrector.calls if corrector else 0))

    def astype(self, dtype):
        """The same sampler, its table cast."""
        return jax.tree.map(lambda a: np.asarray(a, dtype), self)

    def draw(self, keys, sde, denoise, shape, keep=None):
        """One sample for each key: Samples. See `table.sample`."""
        return self.method.draw(keys, sde, chain.wrap(self.wrappers, denoise), shape, keep)
