"""A sampler is a table of numbers, and one loop that runs any table.

A solver only ever takes linear combinations of the state, of the last H predictions
D of x_0 and of fresh noise, with coefficients that depend on the SDE and the time grid
alone. One row for each network call:

    state <- move . [state, D_1, ..., D_H] + noise z        D_1 the newest, z ~ N(0, I)
             (a corrector may act on the state here, at time t)
    point <- look . [state, D_1, ..., D_H]
    D_1   <- denoise(point, t).x0                           older predictions shift by one

and one closing move without a call. Coefficients are formed on the host in float64.
"""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np


@flax.struct.dataclass
class Table:
    """The coefficients of one run, K rows of calls and a history of H predictions.

    Attributes:
      times: [K] time of each call, decreasing.
      move: [K, 1 + H] weights of the state and of the predictions before the call.
      noise: [K] standard deviation of the noise added by the move.
      look: [K, 1 + H] weights of the point at which the network is called.
      closing_move: [1 + H] and closing_noise: [] of the last move, after which no call follows.
    """

    times: jax.Array
    move: jax.Array
    noise: jax.Array
    look: jax.Array
    closing_move: jax.Array
    closing_noise: jax.Array

    @property
    def rows(self):
        """Number of network calls, correctors not counted."""
        return self.times.shape[0]

    def astype(self, dtype):
        """The same table, cast."""
        return jax.tree.map(lambda a: np.asarray(a, dtype), self)


@dataclasses.dataclass(frozen=True)
class Samples:
    """What a run returns.

    Attributes:
      x: [B, ...] samples, in the model's data range.
      nfe: network calls a sample, those of correctors included.
      trajectory: [M, B, ...] states at the chosen rows and the final one, or None.
    """

    x: jax.Array
    nfe: int
    trajectory: jax.Array | None = None


def one_step_table(times, state, prediction, noise, final_denoise):
    """The table of a one-step method: x_s = state x_t + prediction D(x_t) + noise z.

    Args:
      times: [N + 1] decreasing grid; step n goes from times[n] to times[n + 1].
      state, prediction, noise: [N] float64 coefficients of the N steps.
      final_denoise: whether a last call at times[N] replaces the state by D.
    """
    steps = len(state)
    keep, moves = np.array([1.0, 0.0]), np.stack([state, prediction], axis=1)
    if final_denoise:
        closing_move, closing_noise = np.array([0.0, 1.0]), 0.0
    else:
        closing_move, closing_noise = moves[-1], noise[-1]
        moves, noise, times = moves[:-1], noise[:-1], times[:-1]
    rows = steps + 1 if final_denoise else steps
    return Table(
        times=np.asarray(times),
        move=np.concatenate([keep[None], moves]),
        noise=np.concatenate([[0.0], noise]),
        look=np.tile(keep, (rows, 1)),
        closing_move=closing_move,
        closing_noise=np.asarray(closing_noise),
    )


def _combine(weights, state, history):
    total = weights[0] * state
    for i, prediction in enumerate(history):
        total += weights[i + 1] * prediction
    return total


def sample(keys, sde, denoise, shape, table, corrector=None, keep=None):
    """Draws one sample for each key by running a table from the prior to the data.

    The noise of a sample depends on its own key and the row alone, so a sample is the
    same picture in any batch and on any number of devices. One `lax.scan`; jit-able.

    Args:
      keys: [B] typed keys, one a sample.
      sde: gives the prior.
      denoise: (x [B, ...], t [B]) -> Prediction.
      shape: shape of one sample.
      table: coefficients, float32 here.
      corrector: object with `step(keys, x, t, denoise) -> x` and `calls`, or None.
      keep: increasing rows [M - 1] (static) whose states, after move and corrector, make
        up the trajectory, together with the final state; None keeps nothing.

    Returns:
      Samples.
    """
    batch, history_length, rows = keys.shape[0], table.move.shape[1] - 1, table.rows

    def row_keys(row):
        return jax.vmap(jax.random.fold_in, (0, None))(keys, row)

    def normal(keys):
        return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)

    x = sde.prior_std * normal(row_keys(rows + 1))
    history = (jnp.zeros_like(x),) * history_length
    # Rows that are not kept write into a last slot that is thrown away.
    slots = np.full(rows, len(keep) if keep is not None else 0, np.int32)
    if keep is not None:
        slots[np.asarray(keep)] = np.arange(len(keep))
    kept = jnp.zeros((len(keep) + 1, *x.shape)) if keep is not None else None

    def row_step(carry, row):
        x, history, kept = carry
        k, coefficients, slot = row
        move_keys, corrector_keys = _two(row_keys(k))
        x = _combine(coefficients.move, x, history) + coefficients.noise * normal(move_keys)
        t = jnp.full((batch,), coefficients.times)
        if corrector is not None:
            x = corrector.step(corrector_keys, x, t, denoise)
        if kept is not None:
            kept = kept.at[slot].set(x)
        prediction = denoise(_combine(coefficients.look, x, history), t).x0
        return (x, (prediction, *history[:-1]), kept), None

    (x, history, kept), _ = jax.lax.scan(
        row_step, (x, history, kept), (jnp.arange(rows), _rows_of(table), jnp.asarray(slots))
    )
    x = _combine(table.closing_move, x, history) + table.closing_noise * normal(row_keys(rows))
    trajectory = None if kept is None else kept.at[-1].set(x)
    return Samples(x, rows * (1 + (corrector.calls if corrector else 0)), trajectory)


def _two(keys):
    """Splits [B] keys into two arrays of [B] keys."""
    pairs = jax.vmap(jax.random.split)(keys)
    return pairs[:, 0], pairs[:, 1]


def _rows_of(table):
    """The part of the table that the scan runs over."""
    return table.replace(closing_move=None, closing_noise=None)
