"""Deterministic samplers on a mixture and a process: how far from the exact flow they end."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import sde_lib
from samplers.calibration import rms_98
from samplers.tape import evaluate
from sde_lib import probability_flow

# Numbers of calls up to which one compiled program serves all samplers of a case.
SIZES = (8, 16, 32, 64, 104, 208)
# Standard deviation at which the most likely component of a sample is told.
TOLD_AT = 0.02


class Figures(NamedTuple):
    """Distances of samples to where the exact flow leads from the same noise, over the noises.

    Attributes:
      median: of the root-mean-square distance over dimensions.
      rms_98: root mean square without the worst 2% of the noises; rms: with them.
      flips: part of the noises that end in another component of the mixture than the exact flow.
    """

    median: float
    rms_98: float
    flips: float
    rms: float


class Calls(NamedTuple):
    """A deterministic sampler as numbers: states are linear in the start and in earlier predictions of x_0.

    Attributes:
      times: [K] of the network calls.
      looks: [K, 1 + K] weights of the start and of the predictions in the state of each call.
      end: [1 + K] weights in the sample.
    """

    times: np.ndarray
    looks: np.ndarray
    end: np.ndarray


def calls_of(table, sde):
    """The Calls of a Table without noise on an SDE."""
    alpha, sigma = (evaluate(method, table.times) for method in (sde.alpha, sde.sigma))
    symbols = np.eye(1 + table.rows)
    state, history, looks = symbols[0], np.zeros((table.history, 1 + table.rows)), []
    for k in range(table.rows):
        state = table.move[k, 0] * state + table.move[k, 1:] @ history
        looks.append(table.look[k, 0] * state + table.look[k, 1:] @ history)
        x0 = symbols[k + 1]
        eps = (looks[-1] - alpha[k] * x0) / sigma[k]
        remembered = table.record[k, 0] * x0 + table.record[k, 1] * eps
        history = np.concatenate([remembered[None], history[:-1]])
    end = table.closing_move[0] * state + table.closing_move[1:] @ history
    return Calls(np.asarray(table.times), np.stack(looks), end)


class Case:
    """Noises, where the exact flow leads from them, and the sampling loop, in float64.

    Args:
      name: of the mixture; mixture: a GaussianMixture in float64.
      sde: key of sde_lib.SDES.
      count: noises.
    """

    def __init__(self, name, mixture, sde, count):
        self.name, self.sde, self.mixture = f"{name}, {sde}", sde_lib.SDES[sde](), mixture
        rng = np.random.default_rng(0)
        self.start = self.sde.prior_std * rng.standard_normal((count, *mixture.shape))
        self.exact = self._exact()
        self._component = self._most_likely(self.exact)

    def denoise(self, x, t):
        """The exact Prediction."""
        return self.mixture.denoise(self.sde, x, t)

    def _exact(self):
        ends = (self.sde.t_max, self.sde.sampling_t_min)

        def solve(x):
            return probability_flow.solve(self.sde, self.denoise, x, ends, 1e-10, "dopri8", max_steps=20_000)

        # Together up to 64: the slowest of a batch holds up the others.
        end = jax.jit(lambda start: jax.lax.map(solve, start, batch_size=64))(jnp.asarray(self.start))
        assert not end.failed.any(), "the reference solution failed"
        last = jnp.full(len(self.start), self.sde.sampling_t_min)
        return np.asarray(jax.jit(self.denoise)(end.x, last).x0)

    @functools.cached_property
    def _ends(self):
        def run(calls, count, start):
            def call(k, known):
                x = jnp.tensordot(calls.looks[k], known, 1)
                x0 = self.denoise(x, jnp.full(len(x), calls.times[k])).x0
                return jax.lax.dynamic_update_index_in_dim(known, x0, k + 1, 0)

            known = jnp.zeros((len(calls.end), *start.shape)).at[0].set(start)
            return jnp.tensordot(calls.end, jax.lax.fori_loop(0, count, call, known), 1)

        return jax.jit(jax.vmap(run, (0, None, None)))

    def run(self, samplers):
        """The samples [len(samplers), N, ...] of Calls, all of one number, as a list."""
        count = len(samplers[0].times)
        size = next((size for size in SIZES if size >= count), count)
        together = max(1, min(16, 5_000_000 // (self.start.size * size)))

        def padded(a):
            return np.pad(a, [(0, size - count)] * a.ndim)

        samples = []
        for first in range(0, len(samplers), together):
            part = samplers[first : first + together]
            part = [Calls(*map(padded, calls)) for calls in [*part, *part[-1:] * (together - len(part))]]
            stacked = Calls(*map(np.stack, zip(*part, strict=True)))
            samples += list(np.asarray(self._ends(stacked, count, self.start)))
        return samples[: len(samplers)]

    def figures(self, x):
        """The Figures of samples [N, ...]; infinite where a sample is not finite."""
        if not np.isfinite(x).all():
            return Figures(np.inf, np.inf, 1.0, np.inf)
        squares = ((x - self.exact) ** 2).reshape(len(x), -1).mean(axis=1)
        flips = np.mean(self._most_likely(x) != self._component)
        return Figures(
            *map(
                float, (np.sqrt(np.median(squares)), rms_98(np.sqrt(squares)), flips, np.sqrt(squares.mean()))
            )
        )

    def _most_likely(self, x):
        """[N] the component of the mixture that most likely gave x, were it blurred by TOLD_AT."""
        return np.asarray(self.mixture.component_log_prob(jnp.asarray(x), 1.0, TOLD_AT).argmax(axis=1))
