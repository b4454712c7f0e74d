"""The probability-flow ODE, solved with adaptive steps for each example by itself.

In y = x / alpha and r = sigma / alpha the probability flow of every linear SDE is dy/dr = eps_hat
(Karras et al. 2022). Brought to unit size, w = x / scale with scale^2 = alpha^2 + sigma^2, and in
u = log r, it reads

    dw/du = q (eps_hat - q w),     q = sigma / scale,

which is smooth and bounded from t_min to t_max whatever the process, so that one tolerance
means the same at every noise level. t follows from log_snr = -2u in closed form.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# config name -> (class in diffrax, evaluations to begin with, evaluations a step)
SOLVERS = {
    "dopri5": ("Dopri5", 1, 6),
    "tsit5": ("Tsit5", 1, 6),
    "dopri8": ("Dopri8", 1, 13),
    "heun": ("Heun", 0, 2),
}


def require_tolerance(tolerance, name="tolerance"):
    """Raises ValueError for a relative and absolute tolerance that lets a solver do what it likes."""
    if not 0 < tolerance < 1:
        raise ValueError(f"{name}={tolerance} must lie strictly between 0 and 1")


class End(NamedTuple):
    """Where a solve ends.

    Attributes:
      x: [...] the state at the last time.
      integral: of what `field` returned beside the velocity.
      nfe: [] evaluations of the vector field.
      failed: [] whether the solver ran out of steps.
    """

    x: jax.Array
    integral: jax.Array
    nfe: jax.Array
    failed: jax.Array


def _only_velocity(velocity, w):
    return velocity(w), jnp.zeros((), w.dtype)


def scale(sde, t):
    """sqrt(alpha^2 + sigma^2), by which the solver's state is divided."""
    return jnp.hypot(sde.alpha(t), sde.sigma(t))


def solve(sde, denoise, x, times, tolerance, solver, max_steps=2000, field=_only_velocity, integral=None):
    """Follows the flow of one example from times[0] to times[1], in either direction.

    Args:
      denoise: (x [1, ...], t [1]) -> Prediction.
      x: [...] the state at times[0].
      tolerance: relative and absolute; solver: key of SOLVERS.
      field: (velocity, w) -> (velocity(w), derivative of the integral), with velocity = dw/du.
      integral: its value at the start.
    """
    import diffrax  # slow to import, and only needed here

    name, first, each = SOLVERS[solver]
    ends = jnp.asarray(times, x.dtype)
    u = -0.5 * sde.log_snr(ends)
    sizes = scale(sde, ends)

    def vector_field(u, state, _):
        t = sde.time_of_log_snr(-2 * u)
        q, size = jnp.sqrt(jax.nn.sigmoid(2 * u)), scale(sde, t)

        def velocity(w):
            return q * (denoise((size * w)[None], t[None]).eps[0] - q * w)

        return field(velocity, state[0])

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        getattr(diffrax, name)(),
        t0=u[0],
        t1=u[1],
        dt0=jnp.sign(u[1] - u[0]) * 0.05,
        y0=(x / sizes[0], jnp.zeros((), x.dtype) if integral is None else integral),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        max_steps=max_steps,
        throw=False,
    )
    failed = solution.result != diffrax.RESULTS.successful
    nfe = first + each * solution.stats["num_steps"]
    return End(sizes[1] * solution.ys[0][0], solution.ys[1][0], nfe, failed)
