"""Everything between a denoiser and samples."""

from typing import Any

import flax.struct
import jax
import numpy as np

from denoisers import chain
from samplers.table import Table, sample


@flax.struct.dataclass
class Sampler:
    """How samples are drawn; a pytree whose leaves are numbers of a table.

    Attributes:
      table: coefficients of a solver on a grid; None where `adaptive` is given.
      between: what acts between two moves of the table, in this order: correctors and projections, objects
        with `step(keys, x, t, denoise) -> x` and `calls`.
      adaptive: object with `draw` that chooses its steps on the way, in place of a table.
      wrappers: functions denoise -> denoise, the innermost first; see denoisers/chain.py.
    """

    table: Table | None = None
    between: tuple = flax.struct.field(pytree_node=False, default=())
    adaptive: Any = None
    wrappers: tuple = ()

    @property
    def times(self):
        """[K] of the calls; None where they are chosen on the way."""
        return None if self.table is None else self.table.times

    @property
    def nfe(self):
        """Network calls a sample, or None where they are chosen on the way."""
        if self.table is None:
            return None
        return self.table.rows * (1 + sum(acting.calls for acting in self.between))

    def astype(self, dtype):
        """The same sampler, its table cast."""
        return jax.tree.map(lambda a: np.asarray(a, dtype), self)

    def draw(self, keys, sde, denoise, shape, keep=None):
        """One sample for each key: Samples. See `table.sample`."""
        denoise = chain.wrap(self.wrappers, denoise)
        if self.table is None:
            return self.adaptive.draw(keys, sde, denoise, shape, keep)
        return sample(keys, sde, denoise, shape, self.table, self.between, keep)
