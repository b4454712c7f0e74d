"""Evaluation of a mixture, where every figure has an exact counterpart.

What --mode=eval measures on a network is measured here on a denoiser without error, so each
difference is the method's own: the loss against its closed form, the flow's log-densities against
the exact ones, bounds against the likelihood, samples against exact samples.
"""

import jax
import jax.numpy as jnp
import numpy as np

from evaluation.bits_per_dim import flow_log_prob, partial_likelihoods, solved_examples
from evaluation.bounds import bounds_in_nats, describe_bounds, sampled_levels
from evaluation.held_out import HeldOut, LeftOut, mean_and_error
from experiment.create import resolved
from likelihood.bounds import DensityDecoder, log_snr_levels
from parallel.batches import BatchMap
from sde_lib import noise
from workdir.provenance import collect
from workdir.records import Progress, say


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


def held_out_samples(experiment, count):
    """HeldOut with exact samples [count, ...] of the Experiment's mixture."""
    x0 = jax.jit(experiment.mixture.sample, static_argnums=1)(experiment.key("held-out"), count)
    return HeldOut.from_experiment(experiment, {"image": np.asarray(x0)})


def evaluate(experiment, held_out, samples, config, folder):
    """Content of a mixture's metrics.json.

    Args:
      held_out: of `held_out_samples`; samples: of samples.
      config: the whole config.
      folder: where the solves of the flow are kept.
    """
    settings, mixture, levels = config.eval, experiment.mixture, sampled_levels(config, samples)
    x0 = held_out.examples["image"]
    say(f"evaluating the exact denoiser of {config.mixture.name} on {len(x0)} of its samples")
    result = {"unit": "nats/dim", "loss": loss_by_level(experiment, held_out, settings)}

    exact = np.asarray(jax.jit(mixture.log_prob)(jnp.asarray(x0)))
    result["negative_log_likelihood"] = mean_and_error(-exact / mixture.dimension)
    left_out = LeftOut()
    if settings.bits_per_dim.compute:
        with left_out("flow"):
            result["flow"] = flow_likelihood(experiment, held_out, config, folder)
    bounds = bounds_in_nats(experiment, mixture, held_out, DensityDecoder(), config, levels)
    result.update(describe_bounds(bounds, 1 / mixture.dimension))
    for name, bound in bounds.items():
        above = bound.total + exact[: len(bound.total)]
        result[name]["above_exact"] = mean_and_error(above / mixture.dimension)

    progress = Progress(settings.two_sample.num_samples, "sample", "sample")
    generated = samples.draw(mixture, settings.two_sample.num_samples, progress)
    progress.close()
    fresh = [
        np.asarray(
            jax.jit(mixture.sample, static_argnums=1)(
                experiment.key(purpose), settings.two_sample.num_samples
            )
        )
        for purpose in ("real samples", "floor samples")
    ]
    result["two_sample"] = {
        name: left_out.two_sample(f"two_sample.{name}", fresh[0], others, settings.two_sample.neighbours)
        for name, others in (("samples", generated), ("floor", fresh[1]))
    }
    result["two_sample"]["nfe"] = samples.nfe
    result["left_out"] = left_out.reasons
    return {**result, "config": resolved(config).to_dict(), "provenance": collect()}
