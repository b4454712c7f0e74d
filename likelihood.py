"""Exact likelihoods by the probability-flow ODE (Song et al. 2021, section 4.3 and appendix D.2).

In y = x / alpha and r = sigma / alpha the probability flow of every linear SDE is
dy/dr = eps_hat (Karras et al. 2022), which in u = log r reads

    dy/du = r eps_hat(x, t),        d log p(y) / du = -r div_y eps_hat.

The solver steps in u, where the flow is smooth from t_min to t_max; t follows from
log_snr = -2u in closed form. Hutchinson's estimator replaces the divergence by
z^T J z with a probe z that is fixed during the solve.
"""

import math

import flax.struct
import jax
import jax.numpy as jnp

PROBES = {
    "rademacher": lambda key, shape: jax.random.rademacher(key, shape, jnp.float32),
    "gaussian": jax.random.normal,
}


@flax.struct.dataclass
class Likelihood:
    """The result of a solve.

    Attributes:
      log_prob: [B] log-density in nats at t_min, of which it is an unbiased estimate.
      latent: [B, ...] where the flow takes x at t_max.
      nfe: [B] evaluations of the vector field; each is one network call with one jvp.
      failed: [B] whether the solver ran out of steps.
    """

    log_prob: jax.Array
    latent: jax.Array
    nfe: jax.Array
    failed: jax.Array


def log_likelihood(keys, sde, denoise, x, tolerance=1e-5, probe="rademacher", max_steps=2000):
    """Log-density of x under the model's probability flow.

    x is taken as a sample of the marginal at t_min, as Song et al. (2021) do; the
    difference from the density at t = 0 is not corrected.

    Args:
      keys: [B] one key for each probe.
      sde: the forward process.
      denoise: (x [B, ...], t [B]) -> Prediction.
      x: [B, ...] data in the model's range.
      tolerance: relative and absolute tolerance of Dormand-Prince 5(4), controlled for
        each example by itself.
      probe: key of PROBES.
    """
    import diffrax  # slow to import, and only needed here

    ends = jnp.asarray([sde.t_min, sde.t_max], x.dtype)
    u_start, u_end = -0.5 * sde.log_snr(ends)
    log_alpha_start, log_alpha_end = sde.log_alpha(ends)

    def solve(key, x):
        z = PROBES[probe](key, x.shape).astype(x.dtype)

        def field(u, state, _):
            t = sde.time_of_log_snr(-2 * u)

            def velocity(y):
                return jnp.exp(u) * denoise((sde.alpha(t) * y)[None], t[None]).eps[0]

            # Forward mode: vjp of a convolution inside a loop is very slow on CPU.
            dy, derivative = jax.jvp(velocity, (state[0],), (z,))
            return dy, jnp.sum(z * derivative)

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Dopri5(),
            t0=u_start,
            t1=u_end,
            dt0=0.05,
            y0=(x / jnp.exp(log_alpha_start), jnp.zeros((), x.dtype)),
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            max_steps=max_steps,
            throw=False,
        )
        latent = jnp.exp(log_alpha_end) * solution.ys[0][0]
        # y = x / alpha at both ends: the change of volume of the scaling.
        scaling = x.size * (log_alpha_end - log_alpha_start)
        log_prob = sde.prior_log_prob(latent[None])[0] + solution.ys[1][0] + scaling
        failed = solution.result != diffrax.RESULTS.successful
        # Dormand-Prince reuses its last stage: six evaluations a step, and one to begin.
        return Likelihood(log_prob, latent, 6 * solution.stats["num_steps"] + 1, failed)

    return jax.vmap(solve)(keys, x)


def bits_per_dim(log_prob, shape, levels, centered):
    """Bits per dimension of pixels in `levels` values, from nats of the scaled, dequantized data.

    Uniform dequantization maps a pixel v to (v + u) / levels in [0, 1], u ~ U[0, 1), and
    with `centered` on to [-1, 1]; the Jacobian of that map is put back here. By Jensen's
    inequality the result bounds the bits of the discrete pixels from above (Theis et al. 2016).

    Args:
      log_prob: [B] nats; shape: of one image.
    """
    spacing = (2.0 if centered else 1.0) / levels
    return -(log_prob / math.prod(shape) + math.log(spacing)) / math.log(2)
