"""A sampler is a table of numbers, and one loop that runs any table.

A solver only ever takes linear combinations of the state, of the last H predictions P
and of fresh noise, with coefficients that depend on the SDE and the time grid alone.
A prediction is E[x_0 | x_t] or E[eps | x_t], as the solver's paper has it. One row for
each network call:

    state <- move . [state, P_1, ..., P_H] + std z          P_1 the newest, z ~ N(0, I)
             (correctors and projections may act on the state here, at time t)
    point <- look . [state, P_1, ..., P_H]
    P_1   <- record . [x0, eps] of denoise(point, t)        older predictions shift by one

and one closing move without a call. std is the row's `noise`, or follows from what the newest call found:

    std^2 = noise^2 + spread^2 Var[x_0 | x_t]           where the table has a `spread`,
    log std^2 = v log large + (1 - v) log small         where it has `limits`, v the learned fraction,

in both cases at most `most`.
Coefficients are formed on the host in float64 (samplers/tape.py writes a solver's algorithm
down as such rows).
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from denoisers.variance import interpolated
from sde_lib.noise import fold_in, normal, split


@flax.struct.dataclass
class Table:
    """The coefficients of one run, K rows of calls and a history of H predictions.

    Attributes:
      times: [K] time of each call.
      move: [K, 1 + H] weights of the state and of the predictions before the call.
      noise: [K] standard deviation of the noise added by the move.
      look: [K, 1 + H] weights of the point at which the network is called.
      record: [K, 2] weights of E[x_0] and E[eps] in what is remembered of the call.
      closing_move: [1 + H] and closing_noise: [] of the last move, after which no call follows.
      spread: [K + 1] weights of the standard deviation of x_0 given x_t in the noise of the moves,
        the closing one last; or None.
      limits: [K + 1, 2] the small and the large variance of the moves, between which the denoiser's
        variance_fraction chooses, 0 for moves without noise; or None.
      most: [K + 1] upper bounds on the variance of the moves where one of these two is given; or None.
    """

    times: jax.Array
    move: jax.Array
    noise: jax.Array
    look: jax.Array
    record: jax.Array
    closing_move: jax.Array
    closing_noise: jax.Array
    spread: jax.Array | None = None
    limits: jax.Array | None = None
    most: jax.Array | None = None

    @property
    def rows(self):
        """Number of network calls, correctors not counted."""
        return self.times.shape[0]

    @property
    def history(self):
        """Number H of predictions that are remembered."""
        return self.move.shape[1] - 1

    def astype(self, dtype):
        """The same table, cast."""
        return jax.tree.map(lambda a: np.asarray(a, dtype), self)

    def __str__(self):
        """The rows as they are read: time, move, noise, look and what is remembered."""
        names = ["x", *(f"P{i + 1}" for i in range(self.history))]

        def combination(weights):
            terms = [f"{w:+.6g} {n}" for w, n in zip(weights, names, strict=True) if w != 0]
            return " ".join(terms) or "0"

        def remembered(weights):
            return {(1.0, 0.0): "x0", (0.0, 1.0): "eps"}.get(tuple(map(float, weights)), str(weights))

        def added(k):
            if self.spread is not None and self.spread[k] > 0:
                return f", noise with {self.spread[k]:.4g} std(x0)"
            if self.limits is not None and self.limits[k, 1] > 0:
                small, large = self.limits[k] ** 0.5
                return f", noise from {small:.4g} to {large:.4g}, learned"
            return ""

        lines = [f"{'call':>5} {'time':>12} {'P1':>4} {'noise':>11}  state <- move;  called at"]
        for k in range(self.rows):
            move, look = combination(self.move[k]), combination(self.look[k])
            lines.append(
                f"{k + 1:5d} {self.times[k]:12.6g} {remembered(self.record[k]):>4} {self.noise[k]:11.4g}"
                f"  {'unchanged' if move == '+1 x' else 'x <- ' + move}{added(k)};  {look}"
            )
        closing = combination(self.closing_move) + added(self.rows)
        lines.append(f"{'end':>5} {'':12} {'':4} {self.closing_noise:11.4g}  x <- {closing}")
        return "\n".join(lines)


@flax.struct.dataclass
class Samples:
    """What a run returns.

    Attributes:
      x: [B, ...] samples, in the model's data range.
      nfe: [B] network calls of each sample, those of correctors included.
      trajectory: [M, B, ...] states at the chosen rows and the final one, or None.
      predictions: [M - 1, B, ...] E[x_0] at the calls of the chosen rows, or None.
    """

    x: jax.Array
    nfe: jax.Array
    trajectory: jax.Array | None = None
    predictions: jax.Array | None = None


@flax.struct.dataclass
class _Given:
    """The columns of a table by which the noise of a move depends on what the call before it found."""

    spread: jax.Array | None
    limits: jax.Array | None
    most: jax.Array | None

    @property
    def asks(self):
        """Whether the noise depends on a call at all."""
        return self.spread is not None or self.limits is not None

    def known(self, prediction):
        """[B, ...] what is remembered of a call for the noise of the next move, or None."""
        if self.spread is not None:
            return prediction.x0_variance
        return prediction.variance_fraction if self.limits is not None else None

    def std(self, noise, known):
        """Standard deviation of a move, from its own `noise` and what the call before it found."""
        if self.spread is not None:
            variance = noise**2 + self.spread**2 * known
        else:
            small, large = self.limits
            variance = jnp.where(large > 0, interpolated(known, small, large), 0.0)
        return jnp.sqrt(variance if self.most is None else jnp.minimum(variance, self.most))


def _combine(weights, state, history):
    total = weights[0] * state
    for i, prediction in enumerate(history):
        total += weights[i + 1] * prediction
    return total


def prior_noise(keys, sde, shape, rows):
    """[B, *shape] the states at which runs with these keys begin."""
    return sde.prior_std * normal(fold_in(keys, rows + 1), shape)


def sample(keys, sde, denoise, shape, table, between=(), keep=None, start=None):
    """Draws one sample for each key by running a table from the prior to the data.

    The noise of a sample depends on its own key and the row alone, so a sample is the same
    picture, to rounding, in any batch and on any number of devices. Rows without noise draw none.
    One `lax.scan`; jit-able.

    Args:
      keys: [B] typed keys, one a sample.
      sde: gives the prior.
      denoise: (x [B, ...], t [B]) -> Prediction.
      shape: shape of one sample.
      table: coefficients, float32 here.
      between: what acts between a move and the call that follows, in this order: objects with
        `step(keys, x, t, denoise) -> x` and `calls`.
      keep: increasing rows [M - 1] (static) whose states, after move and correctors, make
        up the trajectory, together with the final state; None keeps nothing.
      start: [B, ...] states to begin with in place of draws from the prior.

    Returns:
      Samples.
    """
    batch, rows = keys.shape[0], table.rows
    x = prior_noise(keys, sde, shape, rows) if start is None else start
    history = (jnp.zeros_like(x),) * table.history
    # Rows that are not kept write into a last slot that is thrown away.
    slots = np.full(rows, len(keep) if keep is not None else 0, np.int32)
    kept = None
    if keep is not None:
        slots[np.asarray(keep)] = np.arange(len(keep))
        kept = (jnp.zeros((len(keep) + 1, *x.shape), x.dtype),) * 2

    given = _Given(table.spread, table.limits, table.most)

    def add_noise(x, std, given, known, keys):
        if known is not None:
            return x + given.std(std, known) * normal(keys, shape, x.dtype)
        return jax.lax.cond(std > 0, lambda: x + std * normal(keys, shape, x.dtype), lambda: x)

    def row_step(carry, row):
        x, history, known, kept = carry
        k, coefficients, given, slot = row
        move_keys, between_keys = split(fold_in(keys, k))
        moved = _combine(coefficients.move, x, history)
        x = add_noise(moved, coefficients.noise, given, known, move_keys)
        t = jnp.full((batch,), coefficients.times)
        for i, acting in enumerate(between):
            x = acting.step(fold_in(between_keys, i), x, t, denoise)
        prediction = denoise(_combine(coefficients.look, x, history), t)
        if kept is not None:
            kept = tuple(a.at[slot].set(b) for a, b in zip(kept, (x, prediction.x0), strict=True))
        remembered = coefficients.record[0] * prediction.x0 + coefficients.record[1] * prediction.eps
        return (x, (remembered, *history[:-1]), given.known(prediction), kept), None

    scanned = table.replace(closing_move=None, closing_noise=None, spread=None, limits=None, most=None)
    known = jnp.zeros_like(x) if given.asks else None
    rows_given = jax.tree.map(lambda a: a[:-1], given)
    (x, history, known, kept), _ = jax.lax.scan(
        row_step, (x, history, known, kept), (jnp.arange(rows), scanned, rows_given, jnp.asarray(slots))
    )
    moved = _combine(table.closing_move, x, history)
    last = jax.tree.map(lambda a: a[-1], given)
    x = add_noise(moved, table.closing_noise, last, known, fold_in(keys, rows))
    nfe = jnp.full((batch,), rows * (1 + sum(acting.calls for acting in between)))
    if kept is None:
        return Samples(x, nfe)
    return Samples(x, nfe, kept[0].at[-1].set(x), kept[1][:-1])
