"""Everything that is refused before any work starts, in one function."""

import jax

import data
import denoisers
import losses
import models
import samplers
import sde_lib
from components import ConfigError, choose
from denoisers.heads import VARIANCE_HEADS
from denoisers.variance import CHOICES, ESTIMATES, estimate
from experiment.create import mixture_case
from experiment.draw import refused_labels
from likelihood.bounds import DECODERS, LEVELS
from likelihood.exact import PROBES
from sde_lib.probability_flow import SOLVERS
from training import optimizers, state

FREQUENCIES = ("training.log_every", "training.eval_every", "training.sample_every", "checkpoint.every")


POSITIVE = (
    "training.steps",
    "training.batch_size",
    "training.jitted_steps",
    "training.log_every",
    "checkpoint.every",
    "checkpoint.keep",
    "sampling.batch_size",
    "sampling.num_samples",
    "calibration.noises",
    "variance.batch_size",
    "trajectory.batch_size",
    "calibration.batch_size",
    "calibration.starts",
    "calibration.pictures",
    "eval.batch_size",
    "eval.max_images",
    "eval.num_samples",
    "eval.neighbours",
    "eval.loss_levels",
    "eval.tolerance",
    "eval.dequantizations",
    "eval.probes",
    "eval.bound_images",
    "eval.diagnostic_images",
    "encoding.num_images",
    "encoding.interpolations",
    "encoding.tolerance",
    "data.memory_gib",
    "data.threads",
)


def _field(config, path):
    for part in path.split("."):
        config = config[part]
    return config


def _numbers(config):
    if not 0 <= config.seed < 2**64:
        yield f"seed={config.seed} must lie in 0..2^64-1."
    for path in POSITIVE:
        if not _field(config, path) > 0:
            yield f"{path}={_field(config, path)} must be positive."
    for path in (*FREQUENCIES, "checkpoint.keep_every"):
        if _field(config, path) < 0:
            yield f"{path}={_field(config, path)} must not be negative; 0 means never."


def _divisibility(config):
    jitted = max(config.training.jitted_steps, 1)
    uneven = [p for p in ("training.steps", *FREQUENCIES) if _field(config, p) % jitted]
    if uneven:
        yield (
            f"training.jitted_steps={jitted} must divide "
            f"{', '.join(f'{path}={_field(config, path)}' for path in uneven)}. "
            "Change these to multiples of it, or use training.jitted_steps=1."
        )
    devices = jax.local_device_count()
    for path in (
        "training.batch_size",
        "sampling.batch_size",
        "eval.batch_size",
        "variance.batch_size",
        "trajectory.batch_size",
    ):
        size, count = _field(config, path), devices
        if path == "training.batch_size":
            count = jax.device_count()
        if size % count:
            yield (
                f"{path}={size} does not divide by the {count} devices. "
                f"Use {max(size // count, 1) * count} or {-(-size // count) * count}."
            )


def _data(whole):
    if whole.mixture.name:
        return
    config = whole.data
    data.parse(config.source)
    if not 0 < config.holdout < 1:
        yield f"data.holdout={config.holdout} must lie strictly between 0 and 1."
    if config.levels is not None and not 2 <= config.levels <= 256:
        yield f"data.levels={config.levels} must lie in 2..256."
    if config.channels is not None and not 1 <= config.channels <= 4:
        yield f"data.channels={config.channels} must lie in 1..4."
    if config.image_size is not None and config.image_size < 1:
        yield f"data.image_size={config.image_size} must be positive."


def _network(config):
    if mixture_case(config.mixture):
        return
    network = models.create(config.model, config.data.channels or 1)
    yield from _refusal(denoisers.create, config.denoiser, network, sde_lib.create(config.sde))
    # Optional in a network; see models/network.py.
    refusal = getattr(network, "refusal", None)
    line = refusal and refusal(config.data.image_size, config.denoiser.noise_input)
    if line:
        yield line


def _choices(config):
    for field, table in (
        ("probe", PROBES),
        ("solver", SOLVERS),
        ("bound_grid", dict.fromkeys((*LEVELS, "sampling"))),
        ("bound_variance", CHOICES),
        ("bound_decoder", dict.fromkeys((None, *DECODERS))),
    ):
        yield from _refusal(choose, table, config.eval[field], f"eval.{field}")
    for field in ("bound_levels", "max_images", "num_samples", "bound_images", "diagnostic_images"):
        if config.eval[field] < 2:
            yield f"eval.{field}={config.eval[field]} must be at least 2."
    if config.mixture.name and (config.eval.dequantizations != 1 or config.eval.bound_decoder == "pixels"):
        yield (
            "eval.dequantizations and eval.bound_decoder=pixels are for pixels, and a mixture has none. "
            "Leave them out."
        )
    head = "predicted" if config.mixture.name else config.denoiser.variance_head
    own = VARIANCE_HEADS.get(head)
    has_branch = own is not None and own.output == "branch"
    for field in ("eval.bound_variance", "sampling.variance"):
        choice = _field(config, field)
        if choice == "learned" and head != "fraction":
            yield f'{field}="learned" needs a network trained with denoiser.variance_head=fraction.'
        if choice == "predicted" and not (has_branch or head == "predicted"):
            yield (
                f'{field}="predicted" needs a model that knows the variance of x_0: a mixture, or a network '
                "trained with denoiser.variance_head=second_moment, residual or covariance. For any network: "
                "analytic_residual, jacobian or heuristic."
            )
    readers = (config.sampling.variance, config.eval.bound_variance)
    if config.sampling.variance_average and not any(name in ESTIMATES for name in readers):
        yield (
            f'sampling.variance_average is set, and neither sampling.variance="{readers[0]}" nor '
            f'eval.bound_variance="{readers[1]}" is an optimal one. Use {", ".join(ESTIMATES)}.'
        )
    if config.sampling.variance_probes is not None and "jacobian" not in readers:
        yield (
            f"sampling.variance_probes={config.sampling.variance_probes} is set, and neither "
            'sampling.variance nor eval.bound_variance is "jacobian".'
        )
    if config.sampling.variance_file is not None and not any(name.startswith("analytic") for name in readers):
        yield (
            f'sampling.variance_file is set, and neither sampling.variance="{readers[0]}" nor '
            f'eval.bound_variance="{readers[1]}" reads it. Use analytic or analytic_residual.'
        )
    if config.training.network_from is not None and not has_branch and head in VARIANCE_HEADS:
        yield (
            f'training.network_from="{config.training.network_from}" trains a variance head alone, and '
            f'denoiser.variance_head="{config.denoiser.variance_head}" has no branch. Use second_moment, '
            "residual or covariance."
        )
    if config.variance.levels < 2 or config.variance.examples < 2:
        yield (
            f"variance.levels={config.variance.levels} and variance.examples={config.variance.examples} "
            "must be at least 2."
        )
    yield from _refusal(choose, LEVELS, config.trajectory.grid, "trajectory.grid")
    if config.trajectory.levels < 2 or config.trajectory.examples < 2:
        yield (
            f"trajectory.levels={config.trajectory.levels} and "
            f"trajectory.examples={config.trajectory.examples} must be at least 2."
        )
    steps = config.trajectory.steps
    if not steps or not all(isinstance(n, int) and n >= 2 for n in steps):
        yield f"trajectory.steps={steps} must be numbers of network calls of at least 2."
    nfe = config.calibration.nfe
    if not nfe or not all(isinstance(n, int) and 3 <= n <= 30 for n in nfe):
        yield f"calibration.nfe={nfe} must be numbers of network calls from 3 to 30."
    if config.calibration.fine_steps < 50:
        yield f"calibration.fine_steps={config.calibration.fine_steps} must be at least 50."
    temperatures = config.encoding.temperatures
    if not temperatures or not all(isinstance(t, int | float) and t > 0 for t in temperatures):
        yield f"encoding.temperatures={config.encoding.temperatures} must be positive numbers."
    refusal = config.data.classes and refused_labels(config.sampling.labels, config.data.classes)
    if refusal:
        yield refusal
    if config.training.parallel != "pmap":
        yield f'training.parallel="{config.training.parallel}" is unknown. Known: pmap.'


def _forward_process(config):
    sde = sde_lib.create(config.sde)
    case = mixture_case(config.mixture)
    ranges = {True: (-1.0, 1.0), False: (0.0, 1.0)}
    data_range = ranges[config.data.centered] if not case or case.levels else None
    yield from _refusal(samplers.create, config.sampling, sde, data_range)
    yield from _refusal(losses.create, config.loss, sde, config.denoiser)
    bound = (config.eval.bound_variance, config.sampling, data_range, "eval.bound_variance")
    yield from _refusal(estimate, *bound)
    side = getattr(sde, "image_side", None)
    of_images = getattr(case, "side", None) if case else config.data.image_size
    if side and of_images and side != of_images:
        yield f"sde.image_side={side}, but the images have side {of_images}. Set sde.image_side={of_images}."
    first = sde.t_max / max(config.eval.bound_levels, 1)
    bound = config.eval.discrete_bound and config.eval.bound_grid == "uniform"
    if bound and first < sde.t_min * (1 - 1e-6):
        yield (
            f"eval.bound_levels={config.eval.bound_levels} puts the first level at t = {first:.3g}, below "
            f"sde.t_min={sde.t_min:.3g}. Use at most {int(sde.t_max / sde.t_min * (1 + 1e-6))}, or "
            "eval.bound_grid=log_snr."
        )


def _refusal(create, *arguments):
    """The message with which a `create` refuses its arguments, if it does."""
    try:
        create(*arguments)
    except ConfigError as error:
        yield str(error)


def _collect(check, config):
    try:
        yield from check(config)
    except ConfigError as error:
        yield str(error)


def _training(config):
    yield from _refusal(optimizers.create, config.optim, config.training.steps)
    yield from _refusal(state.ema_names, config.ema)


def problems(config):
    """All that is wrong with a config, one line each; empty if it can run.

    Nothing is compiled and no data is read. Called again once the data is known, it
    also checks what depends on the image's side.
    """
    checks = (_forward_process, _data, _network, _training, _choices, _numbers, _divisibility)
    return list(dict.fromkeys(line for check in checks for line in _collect(check, config)))


def require(config):
    """Raises ConfigError with every problem of the config, if there is one."""
    found = problems(config)
    if found:
        raise ConfigError("\n".join(found))
