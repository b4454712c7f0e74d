"""The state of a run, and the averages of its parameters."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from components import ConfigError


@flax.struct.dataclass
class TrainState:
    """All that training changes.

    Attributes:
      step: [] int32, optimizer steps done.
      params: the network's parameters, float32.
      opt_state: optax's state.
      ema: dict from decay, as text, to the averaged parameters in float32.
      loss_history: losses.LossHistory where the times are drawn by it, else None.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    ema: dict[str, Any]
    loss_history: Any = None


def ema_names(config):
    """Names of the averages that the subtree `ema` asks for.

    Raises:
      ConfigError: no decay at all, or one outside [0, 1).
    """
    decays = tuple(config.decays)
    numbers = [d for d in decays if isinstance(d, int | float) and 0 <= d < 1]
    if not decays or len(set(numbers)) < len(decays):
        raise ConfigError(f"ema.decays={decays} must hold different numbers in [0, 1), at least one.")
    return tuple(repr(float(decay)) for decay in decays)


def create(params, optimizer, names, loss_history=None):
    """The state at step 0; averages start at the parameters."""

    def start(params):
        ema = {name: jax.tree.map(jnp.copy, params) for name in names}
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), ema, loss_history)

    return jax.jit(start)(params)


def update_ema(ema, params, step, ramp):
    """The averages after optimizer step number `step` (1 for the first).

    average <- decay average + (1 - decay) params, with decay replaced by
    min(decay, (1 + step) / (10 + step)) where `ramp` is set.
    """

    def update(name, average):
        decay = jnp.float32(name)
        if ramp:
            decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
        # In this form what does not move stays the same to the last bit.
        return jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), average, params)

    return {name: update(name, average) for name, average in ema.items()}
