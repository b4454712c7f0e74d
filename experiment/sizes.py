"""What a config asks memory to hold, from below: what is too much is refused before it is allocated."""

import math

import jax

from parallel import memory

FLOAT, INDEX = 4, 8
# Of a sample, as Inception has them.
FEATURES = 2048
# x_t, its noise, the prediction of x_0 and that of the noise stand beside each other.
STATES = 4


def refusals(config, reads, case, shape):
    """Lines about numbers of a config that ask for more memory than there is.

    Args:
      reads: subtrees that are read beside those that make the model.
      case: the ready-made mixture, or None; shape: of one data point, or None where it is not known yet.
    """
    numbers = math.prod(shape or (1,))
    side = {} if case else {"data__image_size": config.data.image_size}
    if case:
        side = {f"mixture__{name}": value for name, value in config.mixture.items() if name != "name"}
        yield from _held("the mixture", 2 * INDEX * case.numbers, **side)
    yield from _held("one data point", FLOAT * numbers, **side)
    levels = config.sde.noise_levels
    yield from _held("its table of levels", 4 * INDEX * (levels or 0), sde__noise_levels=levels)
    for name in reads:
        if name in _OF_SUBTREE:
            yield from _OF_SUBTREE[name](config, numbers, side)


def _held(what, needed, **fields):
    return memory.too_large(what, needed, memory.of_machine(), **fields)


def _batch(config, path, numbers, side, factor=1, **more):
    """A line about the batch of the subtree `path`, of which the devices hold STATES at once."""
    size = config[path].batch_size
    needed = STATES * FLOAT * size * factor * numbers
    fields = {f"{path}__batch_size": size, **more, **side}
    yield from memory.too_large("a batch", needed, memory.of_devices(), **fields)


def _drawn(count, numbers):
    """Bytes of so many samples with their number, calls and label."""
    return count * (FLOAT * numbers + 4 * INDEX)


def _of_training(config, numbers, side):
    training, loss = config.training, config.loss
    jitted = {"training__jitted_steps": training.jitted_steps}
    yield from _batch(config, "training", numbers, side)
    read_ahead = 3 * training.jitted_steps * training.batch_size * numbers
    batch = {"training__batch_size": training.batch_size}
    yield from _held("what is read ahead", read_ahead, **batch, **jitted, **side)
    if loss.time_sampling.name == "loss_history":
        history = 12 * FLOAT * loss.noise_levels
        yield from _held("the loss history", history, loss__noise_levels=loss.noise_levels)


def _of_variance(path, subtree):
    """A line about the probes of a variance of the reverse step."""
    probes = subtree.probes or 0
    yield from _held("their keys", 2 * INDEX * probes, **{f"{path}__probes": probes})


def _of_sampling(config, numbers, side):
    sampling = config.sampling
    yield from _batch(config, "sampling", numbers, side)
    needed = _drawn(sampling.num_samples, numbers)
    yield from _held("all samples together", needed, sampling__num_samples=sampling.num_samples, **side)
    yield from _of_variance("sampling__variance", sampling.variance)


def _of_eval(config, numbers, side):
    settings, flow, two = config.eval, config.eval.bits_per_dim, config.eval.two_sample
    solved = "bits_per_dim" in settings.evaluators
    probes = {"eval__bits_per_dim__probes": flow.probes} if solved else {}
    yield from _batch(config, "eval", numbers, side, factor=max(flow.probes if probes else 1, 1), **probes)
    needed = _drawn(two.num_samples, numbers)
    yield from _held("all samples together", needed, eval__two_sample__num_samples=two.num_samples, **side)
    yield from _held(
        "figures by level", 4 * INDEX * settings.loss_levels, eval__loss_levels=settings.loss_levels
    )
    if "sample_quality" in settings.evaluators:
        count = settings.sample_quality.num_samples
        needed = FLOAT * FEATURES * count
        yield from _held("their features", needed, eval__sample_quality__num_samples=count)
    if solved:
        repeats = flow.dequantizations
        yield from _held("their draws", 16 * INDEX * repeats, eval__bits_per_dim__dequantizations=repeats)
    if config.mixture.name:
        needed = _drawn(settings.max_images, numbers)
        yield from _held("the held-out samples", needed, eval__max_images=settings.max_images, **side)
    yield from _of_bound(config, numbers, side)


def _of_bound(config, numbers, side):
    bound = config.eval.bound
    yield from _held("the levels", 4 * INDEX * bound.levels, eval__bound__levels=bound.levels)
    yield from _of_variance("eval__bound__variance", bound.variance)


def _examples(config, path, numbers, side):
    """A line about the examples of a mixture, which are drawn; those of a data set are as many as it has."""
    if config.mixture.name:
        count = config[path].examples
        needed = _drawn(count, numbers)
        yield from _held("the examples", needed, **{f"{path}__examples": count}, **side)


def _of_moments(config, numbers, side):
    levels = config.variance.levels
    yield from _batch(config, "variance", numbers, side)
    yield from _examples(config, "variance", numbers, side)
    yield from _held("the moments", 8 * INDEX * levels, variance__levels=levels)


def _of_optimal_grid(config, numbers, side):
    levels = config.optimal_grid.levels
    yield from _batch(config, "optimal_grid", numbers, side)
    yield from _examples(config, "optimal_grid", numbers, side)
    yield from _held("the costs of all pairs", 4 * INDEX * levels**2, optimal_grid__levels=levels)


def _of_calibration(config, numbers, side):
    settings = config.calibration
    yield from _batch(config, "calibration", numbers, side)
    needed = 6 * FLOAT * settings.noises * numbers
    yield from _held("fine solutions", needed, calibration__noises=settings.noises, **side)
    needed = 16 * INDEX * settings.fine_steps
    yield from _held("the fine solver", needed, calibration__fine_steps=settings.fine_steps)


def _of_encoding(config, numbers, side):
    settings = config.encoding
    yield from _batch(config, "encoding", numbers, side)
    needed = _drawn(settings.num_images * (settings.interpolations + 2), numbers)
    fields = {
        "encoding__num_images": settings.num_images,
        "encoding__interpolations": settings.interpolations,
    }
    yield from _held("codes and what lies between", needed, **fields, **side)


_OF_SUBTREE = {
    "training": _of_training,
    "sampling": _of_sampling,
    "eval": _of_eval,
    "eval.bound": _of_bound,
    "variance": _of_moments,
    "optimal_grid": _of_optimal_grid,
    "calibration": _of_calibration,
    "encoding": _of_encoding,
}


def of_network(config, denoiser, shape, labelled, trained, averages):
    """Lines about a network with more parameters than memory holds; nothing is allocated.

    Args:
      trained: whether gradients and the optimizer's moments stand beside the parameters; averages: how many.
    """
    params = jax.tree.leaves(denoiser.shapes(shape, labelled))
    copies = averages + (4 if trained else 0)
    needed = FLOAT * copies * sum(math.prod(leaf.shape) for leaf in params)
    fields = {f"model__{name}": value for name, value in config.model.items() if type(value) in (int, tuple)}
    what = "a network's parameters, with averages" + (" and optimizer" if trained else "")
    return memory.too_large(what, needed, memory.of_devices(), **fields)
