"""Optimizers and learning-rate schedules, from optax."""

import optax

from components import ConfigError, choose


def adam(config, rate):
    """Adam (Kingma & Ba 2015); eps 1e-8."""
    return optax.adam(rate, config.beta1, config.beta2)


def adamw(config, rate):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    return optax.adamw(rate, config.beta1, config.beta2, weight_decay=config.weight_decay)


OPTIMIZERS = {"adam": adam, "adamw": adamw}

SCHEDULES = {
    "constant": lambda config, steps: optax.constant_schedule(config.learning_rate),
    "cosine": lambda config, steps: optax.cosine_decay_schedule(config.learning_rate, max(steps, 1)),
}


def learning_rate(config, steps):
    """The function from a step to its learning rate that the subtree `optim` describes, for a run of `steps`.

    It rises linearly over `warmup` steps and then follows the schedule.

    Raises:
      ConfigError: unknown name of the schedule.
    """
    schedule = choose(SCHEDULES, config.schedule, "optim.schedule")(config, steps - config.warmup)
    if not config.warmup:
        return schedule
    warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup)
    return optax.join_schedules([warmup, schedule], [config.warmup])


def create(config, steps):
    """The optax transformation that the subtree `optim` describes, for a run of `steps`.

    It has the learning rate of `learning_rate`; gradients are clipped by their global norm first.

    Raises:
      ConfigError: unknown names, or numbers out of range.
    """
    choose(OPTIMIZERS, config.name, "optim.name")
    choose(SCHEDULES, config.schedule, "optim.schedule")
    for field in ("beta1", "beta2"):
        if not 0 <= config[field] < 1:
            raise ConfigError(f"optim.{field}={config[field]} must lie in [0, 1).")
    if not config.learning_rate > 0:
        raise ConfigError(f"optim.learning_rate={config.learning_rate} must be positive.")
    for field in ("warmup", "grad_clip", "weight_decay"):
        if not config[field] >= 0:
            raise ConfigError(f"optim.{field}={config[field]} must not be negative.")
    if config.weight_decay and config.name != "adamw":
        raise ConfigError(
            f'optim.weight_decay={config.weight_decay} needs optim.name="adamw", '
            f'but optim.name="{config.name}".'
        )
    clip = optax.clip_by_global_norm(config.grad_clip) if config.grad_clip else optax.identity()
    return optax.chain(clip, OPTIMIZERS[config.name](config, learning_rate(config, steps)))
