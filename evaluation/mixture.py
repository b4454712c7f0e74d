"""What evaluators measure on a mixture, where every figure has an exact counterpart.

The denoiser is without error, so each difference is the method's own: the loss against its closed form, the
flow's log-densities against the exact ones, bounds against the likelihood.
"""

import jax
import jax.numpy as jnp
import numpy as np

from evaluation.evaluator import Figure
from evaluation.flow import flow_log_prob, partial_likelihoods, solved_examples
from evaluation.held_out import mean_and_error, shown
from likelihood.bounds import log_snr_levels
from parallel.batches import BatchMap
from sde_lib import noise


def loss_by_level(experiment, held_out, settings):
    """The measured error of eps and its closed form snr tr Var[x_0 | x_t] / d, at levels even in log-SNR."""
    sde = experiment.sde
    times = log_snr_levels(sde, settings.loss_levels)

    def at_level(constants, examples):
        mixture, t, key = constants
        keys, x0, _ = held_out.draw(key, examples)
        t = jnp.full(len(keys), t)
        xt, eps = sde.perturb(keys, x0, t)
        prediction = mixture.denoise(sde, xt, t)
        axes = tuple(range(1, eps.ndim))
        snr = jnp.exp(sde.log_snr(t))
        return jnp.mean((prediction.eps - eps) ** 2, axes), snr * jnp.mean(prediction.x0_variance, axes)

    mapped = BatchMap(at_level, settings.batch_size)
    rows = []
    for level, t in enumerate(times):
        key = jax.random.fold_in(experiment.key("held-out loss"), level)
        error, floor = mapped((experiment.mixture, np.float32(t), key), held_out.numbered())
        difference = mean_and_error(error - floor)
        rows.append((error.mean(), difference["standard_error"], floor.mean()))
    error, standard_error, floor = np.array(rows).T
    # Where all examples agree to the last bit there is no standard error to compare with.
    measured = standard_error > 0
    deviations = np.abs(error - floor)[measured] / standard_error[measured]
    return {
        "times": times,
        "log_snr": np.asarray(sde.log_snr(jnp.asarray(times, jnp.float32))),
        "error": error,
        "standard_error": standard_error,
        "floor": floor,
        "largest_deviation_in_standard_errors": float(deviations.max(initial=0.0)),
    }


def flow_likelihood(experiment, held_out, config, folder):
    """Log-densities at t_min by the flow from p(x_T) = prior, against the exact ones, in nats/dim.

    The solves are kept in `folder`, for a killed or a next evaluation.
    """
    sde, mixture, settings = experiment.sde, experiment.mixture, config.eval.bits_per_dim
    x0, dimension = jnp.asarray(held_out.examples["image"]), mixture.dimension
    count = len(x0)
    keys = noise.example_keys(experiment.key("noise at t_min"), jnp.arange(count))
    t = jnp.full(count, sde.t_min)
    x = np.asarray(sde.perturb(keys, x0, t)[0])
    partial = partial_likelihoods(folder / "log_prob", config, mixture, x, repeats=1)
    solutions = flow_log_prob(
        experiment, mixture, [lambda: x], count, partial, settings, config.eval.batch_size
    )
    solved = solved_examples(solutions["log_prob"], settings)
    exact = np.asarray(jax.jit(mixture.log_prob)(x, sde.alpha(t), sde.sigma(t)))
    # The model starts from the prior; the data's own p(x_T) is this far from it, on average over the data.
    end = jnp.full(count, sde.t_max)
    x_end, _ = sde.perturb(noise.fold_in(keys, 1), x0, end)
    gap = mixture.log_prob(x_end, sde.alpha(end), sde.sigma(end)) - sde.prior_log_prob(x_end)
    differences = (solutions["log_prob"].mean(axis=(1, 2)) - exact)[solved] / dimension
    return {
        "exact": mean_and_error(-exact / dimension),
        "value": mean_and_error(-solutions["log_prob"][solved].mean(axis=(1, 2)) / dimension),
        "difference": mean_and_error(differences),
        "root_mean_square_difference": float(np.sqrt(np.mean(differences**2))),
        "prior_gap": mean_and_error(np.asarray(gap) / dimension),
        "nfe": float(solutions["nfe"].mean()),
        "t_min": sde.t_min,
        "tolerance": settings.tolerance,
        "probe": settings.probe,
        "differences": differences,
    }


def exact_log_prob(experiment, held_out):
    """[N] exact log-densities of the examples, in nats."""
    return np.asarray(jax.jit(experiment.mixture.log_prob)(jnp.asarray(held_out.examples["image"])))


def likelihood(experiment, held_out, config, folder):
    """The exact negative log-likelihood of the examples in nats/dim, and what the flow gives for it."""
    exact = exact_log_prob(experiment, held_out)
    return {
        "unit": "nats/dim",
        "exact": mean_and_error(-exact / experiment.mixture.dimension),
        "flow": flow_likelihood(experiment, held_out, config, folder),
    }


def likelihood_figures(entry):
    """Yields the Figures of what `likelihood` found."""
    flow = entry["flow"]
    yield Figure("exact negative log-likelihood, nats/dim", shown(entry["exact"], 6))
    yield Figure("the same at t_min", shown(flow["exact"], 6), f"t_min = {flow['t_min']:g}")
    yield Figure("by the probability-flow ODE", shown(flow["value"], 6), f"NFE {flow['nfe']:.0f}")
    yield Figure("  ODE minus exact log-density", shown(flow["difference"], 6))
    yield Figure("  of which the prior", shown(flow["prior_gap"], 6), "E log p(x_T) - log prior(x_T)")
