"""Exact likelihoods by the probability-flow ODE (Song et al. 2021, section 4.3 and appendix D.2).

Along the flow dw/du = v(w, u) of sde_lib/probability_flow.py, d log p(w) / du = -div v. Hutchinson's
estimator replaces the divergence by z^T J z with a probe z that is fixed during the solve; with
all unit vectors as probes the trace is exact.
"""

import math

import flax.struct
import jax
import jax.numpy as jnp

from sde_lib import probability_flow

# key, shape of one data point, number of probes -> [P, *shape]
PROBES = {
    "rademacher": lambda key, shape, count: jax.random.rademacher(key, (count, *shape), jnp.float32),
    "gaussian": lambda key, shape, count: jax.random.normal(key, (count, *shape)),
    "exact": lambda key, shape, count: jnp.eye(math.prod(shape)).reshape(-1, *shape),
}


@flax.struct.dataclass
class Likelihood:
    """The result of a solve.

    Attributes:
      by_probe: [B, P] log-density in nats at t_min, an unbiased estimate from each probe; P = 1
        where the trace is exact.
      latent: [B, ...] where the flow takes x at t_max.
      nfe: [B] evaluations of the vector field; each is one network call with P jvps.
      failed: [B] whether the solver ran out of steps.
    """

    by_probe: jax.Array
    latent: jax.Array
    nfe: jax.Array
    failed: jax.Array

    @property
    def log_prob(self):
        """[B] the mean over probes."""
        return jnp.mean(self.by_probe, axis=1)


def log_likelihood(
    keys,
    sde,
    denoise,
    x,
    tolerance=1e-5,
    probe="rademacher",
    probes=1,
    solver="dopri5",
    max_steps=2000,
    prior_log_prob=None,
):
    """Log-density of x under the model's probability flow.

        >>> import sde_lib
        >>> from denoisers.gaussian_mixture import GaussianMixture
        >>> from sde_lib.noise import root_key
        >>> vp, gaussian = sde_lib.VP(), GaussianMixture.diagonal([1.0], [[0.0]], [[1.0]])
        >>> found = log_likelihood(
        ...     root_key(0)[None], vp, lambda x, t: gaussian.denoise(vp, x, t), jnp.zeros((1, 1))
        ... )
        >>> round(float(found.log_prob[0]), 3)  # -log(2 pi) / 2
        -0.919

    x is taken as a sample of the marginal at t_min, as Song et al. (2021) do; the
    difference from the density at t = 0 is not corrected.

    Args:
      keys: [B] one key for each example's probes.
      sde: the forward process.
      denoise: (x [B, ...], t [B]) -> Prediction.
      x: [B, ...] data in the model's range.
      tolerance: relative and absolute tolerance of the solver, controlled for each
        example by itself.
      probe: key of PROBES; "exact" takes as many jvps a call as x has dimensions.
      probes: independent probes carried along one solve.
      solver: key of probability_flow.SOLVERS.
      prior_log_prob: x [B, ...] at t_max -> [B]; by default the SDE's prior.
    """
    prior_log_prob = prior_log_prob or sde.prior_log_prob
    shape = x.shape[1:]

    def solve(key, x):
        z = PROBES[probe](key, shape, probes).astype(x.dtype)
        exact = probe == "exact"

        def field(velocity, w):
            # Forward mode: vjp of a convolution inside a loop is very slow on CPU.
            push = jax.vmap(lambda z: jax.jvp(velocity, (w,), (z,)), out_axes=(None, 0))
            value, pushed = push(z)
            traces = jnp.sum((z * pushed).reshape(len(z), -1), axis=1)
            return value, jnp.sum(traces, keepdims=True) if exact else traces

        integral = jnp.zeros(1 if exact else len(z), x.dtype)
        end = probability_flow.solve(
            sde, denoise, x, (sde.t_min, sde.t_max), tolerance, solver, max_steps, field, integral
        )
        log_scale = jnp.log(probability_flow.scale(sde, jnp.asarray([sde.t_min, sde.t_max], x.dtype)))
        # The flow is that of w = x / scale: the change of volume of the scaling at both ends.
        scaling = x.size * (log_scale[1] - log_scale[0])
        by_probe = prior_log_prob(end.x[None])[0] + end.integral + scaling
        return Likelihood(by_probe, end.x, end.nfe, end.failed)

    return jax.vmap(solve)(keys, x)


def bits_per_dim(log_prob, shape, pixel_values, centered):
    """Bits per dimension of pixels in `pixel_values` values, from nats of the scaled, dequantized data.

    Uniform dequantization maps a pixel v to (v + u) / pixel_values in [0, 1], u ~ U[0, 1), and
    with `centered` on to [-1, 1]; the Jacobian of that map is put back here. By Jensen's
    inequality the result bounds the bits of the discrete pixels from above (Theis et al. 2016).

    Args:
      log_prob: [B] nats; shape: of one image.
    """
    spacing = (2.0 if centered else 1.0) / pixel_values
    return -(log_prob / math.prod(shape) + math.log(spacing)) / math.log(2)


def standard_errors(values):
    """How far the mean of estimates [N images, R dequantizations, P probes] may be off, and why.

    Nested analysis of variance: value = mean + image + dequantization (within an image) +
    probe (within both). The variance of the mean is the sum of the parts
    image^2 / N + dequantization^2 / (N R) + probe^2 / (N R P), each estimated without bias where
    there is more than one repetition; what cannot be told apart is counted with the part above it.

    Returns:
      dict of standard errors: total, and of each part (None where it has no repetition).
    """
    images, repeats, probes = values.shape
    by_repeat, by_image = values.mean(axis=2), values.mean(axis=(1, 2))
    total = by_image.var(ddof=1) / images if images > 1 else math.nan
    parts, below = {"probe": None, "dequantization": None}, 0.0
    if probes > 1:
        parts["probe"] = values.var(axis=2, ddof=1).mean() / (images * repeats * probes)
        below = parts["probe"]
    if repeats > 1:
        within = by_repeat.var(axis=1, ddof=1).mean() / (images * repeats)
        parts["dequantization"] = max(within - below, 0.0)
        below = within
    parts["image"] = max(total - below, 0.0)
    roots = {name: None if part is None else math.sqrt(part) for name, part in parts.items()}
    return {"total": math.sqrt(total), **roots}
