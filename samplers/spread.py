"""Any sampler of single steps with the optimal variance of its steps.

We read a solver's step from t to s as that of DDIM with the eta whose noise equals the step's, at most 1.
The optimal variance of x_s given x_t (denoisers/variance.py) adds the uncertainty of x_0:
c^2 Var[x_0 | x_t], the `spread` c of a table.

For ancestral sampling and DDIM this is exact. Euler-Maruyama and reverse diffusion have a slightly
different mean, which agrees with DDIM's to first order in the step only: with the optimal variance they are
still biased.

Solvers with a history are refused. Their means use how the prediction changed on the way, which under the
reverse process is noise of its own: on Gaussian data their samples already vary too much, and would vary
several times too much with a spread.
"""

import math

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from components import ConfigError, choose
from denoisers.variance import CHOICES, estimate, interpolated
from samplers.tape import evaluate


def refusal(table):
    """Why a table cannot take a spread, or None."""
    if (table.look != np.eye(1 + table.history)[0]).any() or (np.diff(table.times) >= 0).any():
        return "calls the network more than once in a step, and the optimal variance is that of a single step"
    # A last move that returns the denoised point is no step.
    steps = [*table.move[1:], *([] if table.closing_move[0] == 0 else [table.closing_move])]
    if not any(step[1:].any() for step in steps):
        return "does not move by the network's predictions, and the optimal variance is that of such a move"
    if table.history > 1:
        return (
            "uses earlier predictions, and the optimal variance is that of a step from the newest one alone"
        )
    return None


def with_spread(sde, table, end):
    """The table of single steps with a spread, none in a last move that returns E[x_0] alone.

    Args:
      end: time at which the last move ends.
    """
    s, t, small = _steps(sde, table, end)
    eta = np.minimum(np.append(table.noise[1:], table.closing_noise) / small, 1)
    _, spread, noise = evaluate(sde.posterior_coefficients, s, t, eta)
    denoises = table.closing_move[0] == 0
    spread[-1], noise[-1] = (0, 0) if denoises else (spread[-1], noise[-1])
    return table.replace(
        spread=np.append(0, spread), noise=np.append(table.noise[0], noise[:-1]), closing_noise=noise[-1]
    )


def _steps(sde, table, end):
    """(s, t, standard deviation of q(x_s | x_t, x_0)) [K] of the moves after each call."""
    t, s = table.times, np.append(table.times[1:], end)
    s = np.where(s < t, s, 0.999 * t)  # the last move ends where it begins and has no noise: any step will do
    return s, t, evaluate(sde.posterior_coefficients, s, t)[2]


@flax.struct.dataclass
class StepVariance:
    """A denoiser whose x0_variance gives every step of one table the variance that is chosen for it.

    Attributes:
      times: [K] of the calls.
      noise, spread: [K] of the move that follows each call.
      small, large: [K] variances of q(x_s | x_t, x_0) and of q(x_t | x_s) over that move.
      most: [K] upper bound on the variance of each move.
      choice: "large", "learned" or "optimal"; see variance.reverse_variance.
    """

    times: jax.Array
    noise: jax.Array
    spread: jax.Array
    small: jax.Array
    large: jax.Array
    most: jax.Array
    choice: str = flax.struct.field(pytree_node=False, default="optimal")

    def __call__(self, denoise):
        """The denoiser with that x0_variance."""

        def with_variance(x, t):
            prediction = denoise(x, t)
            k = jnp.argmin(jnp.abs(self.times - t[0]))
            columns = (self.noise**2, self.spread**2, self.small, self.large, self.most)
            noise, spread, small, large, most = (jnp.asarray(column)[k] for column in columns)
            if self.choice == "optimal":
                found = noise + spread * prediction.x0_variance
            elif self.choice == "large":
                found = jnp.broadcast_to(large, x.shape)
            else:
                found = interpolated(prediction.variance_fraction, small, large)
            added = jnp.minimum(found, most) - noise
            # A move without spread is the last one, whose mean is returned.
            return prediction.replace(x0_variance=jnp.where(spread > 0, added / spread, 0.0))

        return with_variance


def of_steps(sde, table, choice, end, most_at_last=np.inf):
    """The StepVariance of a table with spread.

    Args:
      choice: see StepVariance.
      end: time at which the last move ends.
      most_at_last: upper bound on the variance of the last move that has noise.
    """
    s, t, small = _steps(sde, table, end)
    large = evaluate(sde.transition, t, s)[1] ** 2
    noise, spread = np.append(table.noise[1:], table.closing_noise), table.spread[1:]
    most = np.full(len(t), np.inf)
    most[np.flatnonzero(spread > 0)[-1]] = most_at_last
    return StepVariance(t, noise, spread, small**2, large, most, choice)


def apply(config, sde, table, end, data_range):
    """The table and the functions denoise -> denoise that `sampling.variance` asks for.

    Args:
      config: the subtree `sampling`.
      table: float64; end: time at which its last move ends.
      data_range: (low, high) of the model's data where it has one.

    Raises:
      ConfigError: unknown names, or a table that cannot take another variance.
    """
    choose(CHOICES, config.variance, "sampling.variance")
    if config.variance == "small":
        if config.variance_pixels is not None:
            raise ConfigError(
                f"sampling.variance_pixels={config.variance_pixels} limits a variance that is not the "
                'solver\'s own, and sampling.variance="small".'
            )
        return table, ()
    reason = refusal(table)
    if config.probability_flow:
        reason = (
            "with sampling.probability_flow follows the flow by Euler's method, whose mean is none of DDIM's"
        )
    if reason:
        raise ConfigError(
            f'sampling.variance="{config.variance}": sampling.predictor="{config.predictor}" {reason}. Use '
            '"ancestral", "ddim", "reverse_diffusion" or "euler_maruyama".'
        )
    table = with_spread(sde, table, end)
    choice, around = estimate(config.variance, config, data_range, "sampling.variance")
    low, high = data_range or (-math.inf, math.inf)
    most = math.inf
    if config.variance_pixels is not None:
        if data_range is None or not config.variance_pixels > 0:
            raise ConfigError(
                f"sampling.variance_pixels={config.variance_pixels} must be positive, and the data must have "
                "pixels."
            )
        most = (config.variance_pixels * (high - low) / 255 * math.sqrt(math.pi / 2)) ** 2
    return table, (*around, of_steps(sde, table, choice, end, most))
