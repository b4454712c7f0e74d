"""The evaluator `bits_per_dim`: the likelihood of images by the probability-flow ODE.

Beside the network's stands that of a Gaussian that was fitted to the training images; a mixture's
log-densities stand beside the exact ones.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from components import Refusals, choose, positive
from evaluation import mixture
from evaluation.evaluator import Evaluator, Figure
from evaluation.flow import flow_log_prob, partial_likelihoods, refused_tolerance, solved_examples
from evaluation.held_out import LeftOut, TooFew, mean_and_error, shown
from experiment.create import data_shape
from likelihood.exact import PROBES, bits_per_dim, standard_errors
from sde_lib.noise import example_keys
from sde_lib.probability_flow import SOLVERS

# An exact trace carries one derivative for each dimension of every example in a batch.
LARGEST_EXACT_TRACE = 1024
SPLITS = dict.fromkeys(("test", "train"))


def dequantized(experiment, images, repeat=0):
    """float32 images in the model's range, with uniform noise that depends on the image's number alone."""
    key = jax.random.fold_in(experiment.key("dequantize"), repeat)
    return np.asarray(experiment.transform.dequantized(example_keys(key, jnp.arange(len(images))), images))


def bits(experiment, log_prob):
    return bits_per_dim(
        log_prob, experiment.shape, experiment.transform.pixel_values, experiment.transform.centered
    )


def refusals(config):
    """Lines about the subtree `eval.bits_per_dim`."""
    settings = config.eval.bits_per_dim
    yield from positive(settings, "eval.bits_per_dim", "dequantizations", "probes")
    yield from refused_tolerance(settings.tolerance, "eval.bits_per_dim.tolerance")
    if config.mixture.name and settings.dequantizations != 1:
        yield (
            f"eval.bits_per_dim.dequantizations={settings.dequantizations} is for pixels, and a mixture has "
            "none. Leave it out."
        )
    shape = data_shape(config) if settings.probe == "exact" else None
    dimension = math.prod(shape) if shape else 0
    if dimension > LARGEST_EXACT_TRACE:
        yield (
            f'eval.bits_per_dim.probe="exact" takes {dimension} derivatives a call here, and up to '
            f'{LARGEST_EXACT_TRACE} are supported. Use eval.bits_per_dim.probe="rademacher".'
        )
    refused = Refusals()
    for field, table in (("probe", PROBES), ("solver", SOLVERS), ("split", SPLITS)):
        with refused:
            choose(table, settings[field], f"eval.bits_per_dim.{field}")
    yield from refused.lines


def network_bits_per_dim(experiment, params, examples, config, folder):
    """Exact bits/dim of held-out images by the probability-flow ODE.

    Args:
      examples: {"image": [N, H, W, C] uint8, "label": [N] where there are labels}; the images are dequantized
        here over the right number of levels.
      config: the whole config.
      folder: where the solves are kept, for a killed or a next evaluation.

    Returns:
      dict with value, standard error and its parts, NFE, and t_min, where the flow starts.

    Raises:
      TooFew: fewer than two images were solved.
    """
    settings, repeats = config.eval.bits_per_dim, config.eval.bits_per_dim.dequantizations
    partial = partial_likelihoods(folder / "bits_per_dim", config, params, examples, repeats)
    images = examples["image"]
    if len(images) < 2:
        raise TooFew("its standard error takes 2 examples, and there is 1")
    draws = [lambda repeat=repeat: dequantized(experiment, images, repeat) for repeat in range(repeats)]
    solutions = flow_log_prob(
        experiment,
        params,
        draws,
        len(images),
        partial,
        settings,
        config.eval.batch_size,
        examples.get("label"),
    )
    solved = solved_examples(solutions["log_prob"], settings)
    if solved.sum() < 2:
        raise TooFew("its standard error takes 2 examples, and there is 1")
    values = np.asarray(bits(experiment, solutions["log_prob"][solved]))
    parts = standard_errors(values)
    t_min = experiment.sde.t_min
    return {
        "bounds": "from above, on average over dequantization noise, the bits of the pixels under the flow",
        "value": float(values.mean()),
        "standard_error": parts.pop("total"),
        "standard_error_parts": parts,
        "nfe": float(solutions["nfe"].mean()),
        "images": int(solved.sum()),
        "dequantizations": repeats,
        "t_min": t_min,
        "sigma_at_t_min": float(experiment.sde.sigma(jnp.float32(t_min))),
        "tolerance": settings.tolerance,
    }


class BitsPerDim(Evaluator):
    name = "bits_per_dim"
    reads = ("data",)

    def refusals(self, config):
        return refusals(config)

    def settings(self, config):
        return config.eval.bits_per_dim.to_dict()

    def measure(self, evaluation):
        experiment, config, left_out = evaluation.experiment, evaluation.config, LeftOut()
        if experiment.mixture is not None:
            return mixture.likelihood(experiment, evaluation.scaled, config, evaluation.folder)
        examples = evaluation.examples(config.eval.bits_per_dim.split)
        entry = {"split": config.eval.bits_per_dim.split}
        with left_out("model"):
            entry["model"] = network_bits_per_dim(
                experiment, evaluation.params, examples, config, evaluation.folder
            )
        if evaluation.gaussian:
            with left_out("fitted_gaussian"):
                x = jnp.asarray(dequantized(experiment, examples["image"]))
                log_prob = evaluation.gaussian.log_prob(x)
                count = len(examples["image"])
                entry["fitted_gaussian"] = {**mean_and_error(bits(experiment, log_prob)), "images": count}
        return {**entry, "left_out": left_out.reasons}

    def figures(self, entry):
        if "exact" in entry:
            yield from mixture.likelihood_figures(entry)
            return
        if "model" in entry:
            found = entry["model"]
            note = f"{found['images']} images of the {entry['split']} split, NFE {found['nfe']:.0f}"
            yield Figure("bits/dim, model", shown(found), note)
        if "fitted_gaussian" in entry:
            found = entry["fitted_gaussian"]
            note = f"{found['images']} images of the {entry['split']} split" if "images" in found else ""
            yield Figure("bits/dim, fitted gaussian", shown(found), note)

    def panels(self, entry):
        columns = {"model": entry.get("model"), "fitted Gaussian": entry.get("fitted_gaussian")}
        bars = {label: (found["value"], found["standard_error"]) for label, found in columns.items() if found}
        return {"bits/dim (lower is better)": bars}
