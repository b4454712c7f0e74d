"""The evaluator `diagnostics`: is a trained score a score? Four questions to a denoiser at one noise level.

With y = x / alpha, r = sigma / alpha, u = log r and E(y, u) = eps_hat, the score of y is -E / r. If it
is the gradient of the log-density of some data plus noise, then

    E |eps - E|^2 / d = tr(dD/dy) / d, D = y - r E       (the posterior variance, second-order Tweedie),
    dD/dy is symmetric                                  (a gradient has a symmetric Jacobian),
    dE/du - E = r^2 grad(div E) - r grad |E|^2          (the Fokker-Planck equation of the score;
                                                         Lai et al. 2023, in these variables).

A network is trained on the first term of the first line alone; how far the rest fails shows
where its samples, likelihoods and codes cannot be trusted.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from components import positive
from evaluation.evaluator import Evaluator, Figure
from evaluation.held_out import mean_and_error
from evaluation.noise_levels import measure
from likelihood.bounds import log_snr_levels
from parallel import memory
from parallel.batches import BatchMap
from sde_lib.noise import fold_in, rademacher

# Up to this dimension divergences are exact, above by one Rademacher probe.
EXACT_DIMENSION = 16


@flax.struct.dataclass
class Diagnostics:
    """One number for each example, to be averaged over data.

    Attributes:
      error: [B] mean-squared error of eps.
      floor: [B] the least error possible given x_t, where the denoiser knows it, else NaN.
      implied_error: [B] the error that the Jacobian's trace implies.
      asymmetry: [B] |(A - A^T) z|^2 / 4 with A = dD/dy; asymmetry_scale: [B] |A z|^2.
      residual: [B] an unbiased estimate of the squared Fokker-Planck residual, which may be negative;
        residual_scale: [B] the square of its left-hand side.
    """

    error: jax.Array
    floor: jax.Array
    implied_error: jax.Array
    asymmetry: jax.Array
    asymmetry_scale: jax.Array
    residual: jax.Array
    residual_scale: jax.Array


def _flat_sum(x):
    return jnp.sum(x.reshape(len(x), -1), axis=1)


def _probes(keys, salt, like):
    return rademacher(fold_in(keys, salt), like.shape[1:], like.dtype)


def at_level(keys, sde, denoise, x0, t):
    """The Diagnostics of a denoiser at x_t drawn from data x0 [B, ...], at one time t [].

    About ten network passes an example, one of them backwards.

    Args:
      keys: [B].
    """
    dimension = x0[0].size
    times = jnp.full(len(x0), t, x0.dtype)
    u = -0.5 * sde.log_snr(times[0])
    r = jnp.exp(u)
    xt, eps = sde.perturb(fold_in(keys, 0), x0, times)
    y = xt / sde.alpha(times[0])
    v, z, other = (_probes(keys, salt, y) for salt in (1, 2, 3))

    def predict(y, u):
        t = jnp.full(len(y), sde.time_of_log_snr(-2 * u))
        return denoise(sde.alpha(t[0]) * y, t)

    def noise(y, u):
        return predict(y, u).eps

    def data(y):
        return predict(y, u).x0

    predicted, by_u = jax.jvp(lambda u: noise(y, u), (u,), (jnp.ones_like(u),))
    exact = dimension <= EXACT_DIMENSION
    if exact:
        units = jnp.eye(dimension, dtype=y.dtype).reshape(dimension, 1, *y.shape[1:])
        units = jnp.broadcast_to(units, (dimension, *y.shape))

    def divergence(function, y, z):
        directions = units if exact else z[None]
        return sum(_flat_sum(unit * jax.jvp(function, (y,), (unit,))[1]) for unit in directions)

    def residual(z):
        """The Fokker-Planck residual along v, [B]."""
        slope = jax.jvp(lambda y: divergence(lambda y: noise(y, u), y, z), (y,), (v,))[1]
        squares = jax.jvp(lambda y: _flat_sum(noise(y, u) ** 2), (y,), (v,))[1]
        return _flat_sum(v * (by_u - predicted)) - r**2 * slope + r * squares

    # The Jacobian of D, not of eps: where the noise is high their difference would cancel.
    _, pull = jax.vjp(data, y)
    transposed, straight = pull(z)[0], jax.jvp(data, (y,), (z,))[1]
    first = residual(z)
    variance = predict(y, u).x0_variance
    floor = jnp.nan * times if variance is None else _flat_sum(variance) / (r**2 * dimension)
    return Diagnostics(
        error=_flat_sum((predicted - eps) ** 2) / dimension,
        floor=floor,
        implied_error=divergence(data, y, z) / dimension,
        asymmetry=_flat_sum((straight - transposed) ** 2) / 4,
        asymmetry_scale=_flat_sum(straight**2),
        residual=first * (first if exact else residual(other)),
        residual_scale=_flat_sum(v * (by_u - predicted)) ** 2,
    )


@memory.guarded("diagnosing the score", "eval.batch_size", "eval.diagnostics.images")
def diagnose(experiment, params, held_out, config, partial):
    """The score against what makes it one, by noise level: dict of arrays [levels].

    Args:
      config: the whole config; partial: Partial in which finished levels are kept.
    """
    settings = config.eval
    times = log_snr_levels(experiment.sde, settings.loss_levels)
    examples = held_out.numbered(settings.diagnostics.images)

    def of_examples(constants, examples):
        params, t, key = constants
        keys, x0, label = held_out.draw(key, examples)
        return at_level(keys, experiment.sde, experiment.denoiser.bind(params, label), x0, t)

    mapped = BatchMap(of_examples, min(settings.batch_size, 8 * jax.local_device_count()))

    def of_level(level):
        key = jax.random.fold_in(experiment.key("diagnostics"), level)
        return _summary(mapped((params, np.float32(times[level]), key), examples))

    columns = measure(partial, len(times), of_level, "diagnostics", finite=False)
    return {
        "times": times,
        "log_snr": np.asarray(experiment.sde.log_snr(jnp.asarray(times, jnp.float32))),
        "examples": len(examples["index"]),
        **columns,
    }


def _summary(measured):
    """Averages over examples [N] of a Diagnostics; ratios as roots of ratios of means."""

    def root_ratio(part, whole):
        return float(np.sqrt(max(np.mean(part), 0.0) / max(np.mean(whole), 1e-30)))

    def number(name):
        entry = mean_and_error(getattr(measured, name))
        return {name: entry["value"], f"{name}_standard_error": entry["standard_error"]}

    floor = {} if np.isnan(measured.floor).any() else number("floor")
    return {
        **number("error"),
        **floor,
        **number("implied_error"),
        "asymmetry": root_ratio(measured.asymmetry, measured.asymmetry_scale),
        "fokker_planck_residual": root_ratio(measured.residual, measured.residual_scale),
        "fokker_planck_resolution": root_ratio(
            np.std(measured.residual) / np.sqrt(len(measured.residual)), measured.residual_scale
        ),
    }


class ScoreDiagnostics(Evaluator):
    name = "diagnostics"
    reads = ("data",)

    def refusals(self, config):
        if config.eval.diagnostics.images < 2:
            yield f"eval.diagnostics.images={config.eval.diagnostics.images} must be at least 2."
        yield from positive(config.eval, "eval", "loss_levels")

    def settings(self, config):
        return {"loss_levels": config.eval.loss_levels, **config.eval.diagnostics.to_dict()}

    def measure(self, evaluation):
        partial = evaluation.partial(self)
        return diagnose(
            evaluation.experiment, evaluation.params, evaluation.scaled, evaluation.config, partial
        )

    def figures(self, entry):
        note = f"mean over {len(entry['times'])} noise levels, {entry['examples']} examples"
        ratio = np.median(np.asarray(entry["implied_error"]) / np.asarray(entry["error"]))
        yield Figure(
            "error implied by the Jacobian over the error", f"{ratio:.3f}", "median over levels; 1 if a score"
        )
        yield Figure(
            "asymmetry of the Jacobian", f"{np.mean(entry['asymmetry']):.3f}", f"{note}; 0 if a score"
        )
        residual = np.mean(entry["fokker_planck_residual"])
        yield Figure("Fokker-Planck residual", f"{residual:.3f}", "mean over levels, relative; 0 if a score")

    def pictures(self, entry, workdir, folder):
        yield "diagnostics.png", "diagnostics_figure", (entry,)
