"""What is refused because parts of a config do not go together, though each is right by itself."""

from components import positive
from configs import base
from data import augmentation
from denoisers.heads import VARIANCE_HEADS
from denoisers.variance import CHOICES
from parallel import devices
from training import ema
from workdir.saved_config import leaves
from workdir.unread import unread


def data_range(config, case):
    """(low, high) of the model's data, or None for a mixture that is not of images."""
    if case:
        return (-1.0, 1.0) if case.pixel_values else None
    return (-1.0, 1.0) if config.data.centered else (0.0, 1.0)


def network_refusals(config, network, sde):
    """Lines about a network and the images' side, its process, the noise level's form or augmented images."""
    # Optional in a network; see models/network.py.
    refusal = getattr(network, "refusal", None)
    line = refusal and refusal(config.data.image_size, config.denoiser.noise_input)
    if line:
        yield line
    numbers = getattr(network, "augmentation_labels", 0)
    if config.data.augmentation > 0 and numbers != augmentation.LABELS:
        yield (
            f"data.augmentation={config.data.augmentation} needs a network that is told by "
            f"{augmentation.LABELS} numbers what was done to each image, and model.augmentation_labels is "
            f"{numbers or 'not there'}. Set model.augmentation_labels={augmentation.LABELS} with "
            "model.name=song_unet or dhariwal_unet, or data.augmentation=0."
        )
    levels = getattr(network, "noise_levels", None)
    if levels is not None and sde.noise_levels is not None and levels != sde.noise_levels:
        yield (
            f"model.noise_levels={levels}, and the process has sde.noise_levels={sde.noise_levels}: the "
            f"network knows each level by its number. Set model.noise_levels={sde.noise_levels}."
        )


def refused_labels(labels, classes):
    """Why the classes `sampling.labels` cannot be drawn, or None.

    Args:
      classes: of the data; 0 where it has none or the model reads none, None where it is not known yet.
    """
    if labels is None or classes is None:
        return None
    if classes == 0:
        return (
            f"sampling.labels={labels} is set, and the model draws no classes: the data has no labels, or "
            "the network (model.name) does not read them. Leave it out."
        )
    if labels and all(isinstance(n, int) and 0 <= n < classes for n in labels):
        return None
    return f"sampling.labels={labels} must be classes of the data, whole numbers in 0..{classes - 1}."


def across_families(config, reads, sde, case, takes_labels):
    """Lines about fields of several families, of those in `reads`.

    Args:
      sde: the SDE, or None where it was refused; case: the ready-made mixture, or None.
      takes_labels: whether the model's predictions depend on labels.
    """
    if not 0 <= config.seed < 2**64:
        yield f"seed={config.seed} must lie in 0..2^64-1."
    side = getattr(sde, "image_side", None)
    of_images = getattr(case, "side", None) if case else config.data.image_size
    if side and of_images and side != of_images:
        yield f"sde.image_side={side}, but the images have side {of_images}. Set sde.image_side={of_images}."
    if "sampling" in reads:
        yield from positive(config.sampling, "sampling", "num_samples")
        refusal = refused_labels(config.sampling.labels, config.data.classes if takes_labels else 0)
        if refusal:
            yield refusal
        yield from devices.uneven("sampling.batch_size", config.sampling.batch_size)
        yield from _unknown_variance(config, "sampling.variance", config.sampling.variance.name)
    if any(name in ("eval", "eval.bound") for name in reads):
        yield from _unknown_variance(config, "eval.bound.variance", config.eval.bound.variance.name)
    yield from _unread(config, ("ema", "optim", "loss") if "training" in reads else ("ema",))
    if "training" in reads:
        yield from _head_alone(config)
    if "restore" in reads:
        yield from _restored(config)


def _unread(config, groups):
    """Lines about fields of these groups that are set, though nothing reads them."""
    values, defaults = dict(leaves(config)), dict(leaves(base.get_config()))
    for field, reader in unread(config).items():
        if field.split(".")[0] in groups and values[field] != defaults[field]:
            yield f"{field}={values[field]} is set, and nothing reads it without {reader}. Leave it out."


def _restored(config):
    """Lines about the subtree `restore`."""
    restore, kept = config.restore, ema.numbers(config.ema)
    if restore.average not in (None, *kept):
        named = [
            f"ema.{name}={config.ema[name]}"
            for name in ("decays", "half_life_images", "power_stds")
            if config.ema[name]
        ]
        yield (
            f"restore.average={restore.average} is none of the averages that the run keeps: "
            f"{', '.join(named)}."
        )
    beside = [name for name in ("step", "average") if restore[name] is not None]
    if restore.file is not None and beside:
        yield (
            f"restore.file={restore.file} is one average of one step: leave "
            f"{' and '.join(f'restore.{name}' for name in beside)} out."
        )


def _head(config):
    """What the model knows of the variance of x_0: key of VARIANCE_HEADS, or "mixture"."""
    return "mixture" if config.mixture.name else config.denoiser.variance_head


def _has_branch(head):
    return VARIANCE_HEADS.get(head) is not None and VARIANCE_HEADS[head].output == "branch"


def _unknown_variance(config, path, name):
    """Lines about a variance of the reverse step that needs what the model does not know."""
    choice, head = CHOICES.get(name), _head(config)
    if choice is CHOICES["learned"] and head != "fraction":
        yield f'{path}.name="learned" needs a network trained with denoiser.variance_head=fraction.'
    if choice is CHOICES["predicted"] and not (_has_branch(head) or head == "mixture"):
        yield (
            f'{path}.name="predicted" needs a model that knows the variance of x_0: a mixture, or a network '
            "trained with denoiser.variance_head=second_moment, residual or covariance. For any network: "
            "analytic_residual, jacobian or heuristic."
        )


def _head_alone(config):
    head = _head(config)
    if config.training.network_from is not None and config.denoiser.uncertainty:
        yield (
            f'training.network_from="{config.training.network_from}" trains a variance head alone, and '
            "denoiser.uncertainty weighs the loss of the mean. Leave it out."
        )
    if config.training.network_from is not None and head in VARIANCE_HEADS and not _has_branch(head):
        yield (
            f'training.network_from="{config.training.network_from}" trains a variance head alone, and '
            f'denoiser.variance_head="{config.denoiser.variance_head}" has no branch. Use second_moment, '
            "residual or covariance."
        )
