"""A solver's algorithm, written as its paper has it, becomes a Table.

A solver walks along a grid of points with symbols in place of arrays:

    d = tape.x0(tape.state, p)                              a network call at the point p
    tape.state = ratio * tape.state + weight * d + tape.noise(std)

The tape notes each call as one row: the moves of the state since the last call, and the
combination of the state and of earlier predictions at which the network is called.
"""

import abc
import contextlib
import dataclasses
import functools
from typing import ClassVar, NamedTuple

import jax
import numpy as np

from samplers.table import Table

_CHUNK = 256


class Point(NamedTuple):
    """A time and what the SDE's marginal is there, as Python floats.

    Attributes:
      t: time.
      alpha, sigma: of the marginal.
      half_log_snr: log(alpha / sigma), the lambda of the DPM-Solver papers.
    """

    t: float
    alpha: float
    sigma: float
    half_log_snr: float

    @property
    def r(self):
        """Sigma / alpha, the noise level in EDM's sense."""
        return self.sigma / self.alpha


@contextlib.contextmanager
def float64_on_host():
    """Where coefficients are formed, with the SDE's own methods."""
    try:
        device = jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
        device = contextlib.nullcontext()
    with jax.enable_x64(True), device:
        yield


@functools.partial(jax.jit, static_argnums=(0, 1))
def _call(function, sde, *arrays):
    return function(sde, *arrays)


def evaluate(method, *arrays):
    """What a method of an SDE gives for float64 arrays [N], as NumPy arrays formed on the host.

    In chunks of one size, so that one compilation serves every number of steps.
    """
    arrays = [np.asarray(a, np.float64) for a in arrays]
    count = len(arrays[0])
    arrays = [np.pad(a, (0, -count % _CHUNK), mode="edge").reshape(-1, _CHUNK) for a in arrays]
    with float64_on_host():
        parts = [_call(method.__func__, method.__self__, *rows) for rows in zip(*arrays, strict=True)]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *parts)


def points_at(sde, times):
    """The Points of times [N], as a list."""
    alpha, sigma, log_snr = (evaluate(method, times) for method in (sde.alpha, sde.sigma, sde.log_snr))
    return [Point(*map(float, row)) for row in zip(times, alpha, sigma, 0.5 * log_snr, strict=True)]


def points_of_half_log_snr(sde, half_log_snr):
    """The Points at given values [N] of log(alpha / sigma), as a list."""
    return points_at(sde, evaluate(sde.time_of_log_snr, 2 * np.asarray(half_log_snr)))


def points_between(sde, points, fraction):
    """For each two neighbours, the Point at that fraction of the way in log-SNR."""
    levels = np.array([p.half_log_snr for p in points])
    return points_of_half_log_snr(sde, levels[:-1] + fraction * np.diff(levels))


class Linear:
    """A linear combination of the state and of predictions, plus independent noise.

    Attributes:
      weights: dict from symbol to number; a symbol is ("x", version) or ("P", call).
      variance: of the noise.
    """

    def __init__(self, weights, variance=0.0):
        self.weights, self.variance = weights, variance

    def __add__(self, other):
        weights = dict(self.weights)
        for symbol, weight in other.weights.items():
            weights[symbol] = weights.get(symbol, 0.0) + weight
        return Linear(weights, self.variance + other.variance)

    def __mul__(self, factor):
        factor = float(factor)
        return Linear({s: factor * w for s, w in self.weights.items()}, factor**2 * self.variance)

    __rmul__ = __mul__

    def __truediv__(self, divisor):
        return self * (1 / divisor)

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -other


class Tape:
    """Notes the moves and calls of one run."""

    def __init__(self):
        self._version = 0
        self._pending = Linear({("x", 0): 1.0})  # the state, in symbols of the last call's state
        self._origin = 0  # version of the state at the last call
        self._rows = []

    @property
    def state(self):
        """The state as it is now."""
        return Linear({("x", self._version): 1.0})

    @state.setter
    def state(self, value):
        self._pending = self._in_terms_of_origin(value)
        self._version += 1

    def noise(self, std):
        """Fresh Gaussian noise of that standard deviation, to be added to the state."""
        return Linear({}, float(std) ** 2)

    def x0(self, point, at):
        """Calls the network at `point` (Linear) and the Point `at`; returns E[x_0] as a symbol."""
        return self.call(point, at, (1.0, 0.0))

    def eps(self, point, at):
        """The same, returning E[eps]."""
        return self.call(point, at, (0.0, 1.0))

    def call(self, point, at, record):
        """The same, returning record[0] E[x_0] + record[1] E[eps]."""
        if point.variance:
            raise ValueError("noise moves the state; a point at which the network is called has none")
        for kind, number in point.weights:
            if kind == "x" and number != self._version:
                raise ValueError("a state of the past cannot be used: only predictions are remembered")
        self._rows.append((self._pending, self._origin, point.weights, self._version, at.t, record))
        self._pending = self.state
        self._origin = self._version
        return Linear({("P", len(self._rows) - 1): 1.0})

    def _in_terms_of_origin(self, value):
        result = Linear({}, value.variance)
        for (kind, number), weight in value.weights.items():
            if kind == "x":
                if number != self._version:
                    raise ValueError("a state of the past cannot be used: only predictions are remembered")
                result += weight * self._pending
            else:
                result += Linear({(kind, number): weight})
        return result

    def table(self):
        """The Table of all that was noted; the last state closes it."""
        pending, count = self._pending, len(self._rows)
        rows = [*self._rows, (pending, self._origin, {}, None, None, None)]
        ages = [
            row - number
            for row, (move, _, look, *_) in enumerate(rows)
            for weights in (move.weights, look)
            for (kind, number), weight in weights.items()
            if kind == "P" and weight != 0
        ]
        history = max(ages, default=1)
        moves, looks = np.zeros((count + 1, 1 + history)), np.zeros((count + 1, 1 + history))
        for row, (move, origin, look, version, *_) in enumerate(rows):
            for column, weights, state in ((moves, move.weights, origin), (looks, look, version)):
                for (kind, number), weight in weights.items():
                    if weight != 0:
                        if kind == "x":
                            assert number == state
                        column[row, 0 if kind == "x" else row - number] += weight
        noise = np.sqrt([move.variance for move, *_ in rows])
        return Table(
            times=np.array([row[4] for row in self._rows]),
            move=moves[:-1],
            noise=noise[:-1],
            look=looks[:-1],
            record=np.array([row[5] for row in self._rows]),
            closing_move=moves[-1],
            closing_noise=noise[-1],
        )


@dataclasses.dataclass(frozen=True)
class Solver(abc.ABC):
    """A method as a pure function (sde, times) -> Table; its fields are config fields.

    Class attributes:
      default_grid: where the config names none; None for a solver with its own times.
    """

    default_grid: ClassVar[str | None] = "vp_time"

    @abc.abstractmethod
    def walk(self, tape, sde, points):
        """Notes the calls and moves from points[0] to points[-1] on the tape."""

    def refusal(self, sde, times):
        """Why this solver cannot serve the SDE on a grid, or None."""
        return None

    def intervals(self, steps):
        """Number of intervals of the time grid for `sampling.steps`."""
        return steps

    def __call__(self, sde, times, final_denoise=True):
        """The Table on a decreasing grid.

        Args:
          times: [N + 1] decreasing.
          final_denoise: end with E[x_0 | x] at the last time, at the cost of one call.
        """
        tape, points = Tape(), points_at(sde, times)
        self.walk(tape, sde, points)
        if final_denoise:
            tape.state = tape.x0(tape.state, points[-1])
        return tape.table()
