"""The state of a run."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class TrainState:
    """All that training changes.

    Attributes:
      step: [] int32, optimizer steps done.
      params: the network's parameters, float32.
      opt_state: optax's state.
      ema: dict from the names of training.ema.create to the averaged parameters in float32.
      loss_history: losses.LossHistory where the times are drawn by it, else None.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    ema: dict[str, Any]
    loss_history: Any = None


def create(params, optimizer, names, loss_history=None):
    """The state at step 0; averages start at the parameters."""

    def start(params):
        ema = {name: jax.tree.map(jnp.copy, params) for name in names}
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), ema, loss_history)

    return jax.jit(start)(params)
