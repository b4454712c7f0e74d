"""Optimizers and learning-rate schedules, from optax.

As published: Song et al. (2021) adam, learning rate 2e-4, warm-up of 5,000 steps, clipped to 1; Karras et al.
(2022, EDM) adam, 1e-3, warm-up of 10 million images, not clipped; Karras et al. (2024, EDM2) adam with beta2
0.99, 1e-2 for its network S, the same warm-up, inverse_sqrt from step 35,000 on at 64x64, not clipped.
"""

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers

from components import ConfigError, choose

# Muon's own, where optim.momentum is None.
MOMENTUM = 0.95


def adam(config, rate):
    """Adam (Kingma & Ba 2015)."""
    return optax.adam(rate, config.beta1, config.beta2, config.epsilon)


def adamw(config, rate):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    return optax.adamw(rate, config.beta1, config.beta2, config.epsilon, weight_decay=config.weight_decay)


def _is_matrix(path, leaf):
    """Whether a parameter is a kernel [..., inputs, outputs], of a dense layer or a convolution."""
    return jax.tree_util.keystr(path[-1:], simple=True) == "kernel" and leaf.ndim >= 2


def muon(config, rate):
    """Muon for kernels, taken as matrices [product, outputs] (Jordan 2024); AdamW for all else.

    Updates are scaled to the size of Adam's, a root mean square of 0.2 of the rate (Liu et al. 2025, eq. 4),
    so that learning rates carry over from Adam.
    """

    def kinds(params):
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: "matrix" if _is_matrix(path, leaf) else "other", params
        )

    def axes(params):
        return jax.tree.map(
            lambda leaf: MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1), params
        )

    of_matrices = optax.contrib.muon(
        rate,
        beta=MOMENTUM if config.momentum is None else config.momentum,
        weight_decay=config.weight_decay,
        muon_weight_dimension_numbers=axes,
        consistent_rms=0.2,
    )
    return optax.partition({"matrix": of_matrices, "other": adamw(config, rate)}, kinds)


OPTIMIZERS = {"adam": adam, "adamw": adamw, "muon": muon}


def constant(config, steps):
    """1."""
    return lambda step: jnp.ones_like(step, jnp.float32)


def cosine(config, steps):
    """(1 + cos(pi s)) / 2, with s from 0 at the end of the warm-up to 1 (Loshchilov & Hutter 2017)."""
    fall = optax.cosine_decay_schedule(1.0, max(steps - config.warmup, 1))
    return lambda step: fall(jnp.maximum(step - config.warmup, 0))


def linear(config, steps):
    """1 - s."""
    fall = optax.linear_schedule(1.0, 0.0, max(steps - config.warmup, 1))
    return lambda step: fall(jnp.maximum(step - config.warmup, 0))


def inverse_sqrt(config, steps):
    """1 / sqrt(max(step / decay_steps, 1)) (Karras et al. 2024, section 2.3)."""
    return lambda step: jax.lax.rsqrt(jnp.maximum(step / config.decay_steps, 1.0))


# From the subtree `optim` and the steps of the run to a function of the step, 0 for the first: which part of
# the largest learning rate.
SCHEDULES = {"constant": constant, "cosine": cosine, "linear": linear, "inverse_sqrt": inverse_sqrt}


def learning_rate(config, steps):
    """The function from a step, 0 for the first, to its learning rate, for a run of `steps`.

    It is learning_rate min(step / warmup, 1) times the schedule.

    Raises:
      ConfigError: unknown name of the schedule.
    """
    schedule = choose(SCHEDULES, config.schedule, "optim.schedule")(config, steps)
    if not config.warmup:
        return lambda step: config.learning_rate * schedule(step)
    return lambda step: config.learning_rate * jnp.minimum(step / config.warmup, 1.0) * schedule(step)


def unreached(config, steps):
    """A line, if the warm-up takes the whole run, so that the rate never falls as it should; else None.

    Args:
      config: the subtree `optim`; steps: of the run.
    """
    if config.schedule not in ("cosine", "linear") or not config.warmup >= steps:
        return None
    return (
        f"optim.warmup={config.warmup} is not shorter than training.steps={steps}: the learning rate rises "
        f'to the end, and optim.schedule="{config.schedule}" has no part. Set optim.warmup to a part of '
        "training.steps."
    )


def create(config, steps):
    """The optax transformation that the subtree `optim` describes, for a run of `steps`.

    It has the learning rate of `learning_rate`; gradients are clipped by their global norm first.

    Raises:
      ConfigError: unknown names, or numbers out of range.
    """
    choose(OPTIMIZERS, config.name, "optim.name")
    choose(SCHEDULES, config.schedule, "optim.schedule")
    for field in ("beta1", "beta2", "momentum"):
        if config[field] is not None and not 0 <= config[field] < 1:
            raise ConfigError(f"optim.{field}={config[field]} must lie in [0, 1).")
    for field in ("learning_rate", "epsilon"):
        if not config[field] > 0:
            raise ConfigError(f"optim.{field}={config[field]} must be positive.")
    for field in ("warmup", "grad_clip", "weight_decay"):
        if not config[field] >= 0:
            raise ConfigError(f"optim.{field}={config[field]} must not be negative.")
    if config.weight_decay and config.name == "adam":
        raise ConfigError(
            f'optim.weight_decay={config.weight_decay} needs optim.name="adamw" or "muon", '
            f'but optim.name="{config.name}".'
        )
    falls = config.schedule == "inverse_sqrt"
    if falls and not (config.decay_steps or 0) >= 1:
        raise ConfigError(
            f'optim.schedule="inverse_sqrt" needs optim.decay_steps of at least 1, not {config.decay_steps}.'
        )
    if config.decay_steps is not None and not falls:
        raise ConfigError(
            f'optim.decay_steps={config.decay_steps} needs optim.schedule="inverse_sqrt", '
            f'but optim.schedule="{config.schedule}".'
        )
    clip = optax.clip_by_global_norm(config.grad_clip) if config.grad_clip else optax.identity()
    return optax.chain(clip, OPTIMIZERS[config.name](config, learning_rate(config, steps)))
