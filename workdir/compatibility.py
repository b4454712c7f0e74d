"""Which changes of a config let a checkpoint be read all the same."""

import json

# Changing these fields does not change what the stored arrays mean.
HARMLESS = (
    "checkpoint.",
    "data.directory",
    "data.memory_gib",
    "data.threads",
    "calibration.",
    "encoding.",
    "eval.",
    "model.dropout",
    "model.dtype",
    "optim.beta",
    "optim.grad_clip",
    "optim.learning_rate",
    "optim.schedule",
    "optim.warmup",
    "optim.weight_decay",
    "sampling.",
    "training.eval_every",
    "training.jitted_steps",
    "training.log_every",
    "training.sample_every",
    "training.steps",
    "trajectory.",
    "variance.",
    "sde.sampling_t_min",
)


# What the averaged parameters mean to sampling and evaluation; nothing else has to agree there.
OF_THE_DENOISER = (
    "data.centered",
    "data.channels",
    "data.classes",
    "data.image_size",
    "data.levels",
    "denoiser.",
    "ema.decays",
    "model.",
    "sde.",
)


FROM_SOURCE = ("image_size", "channels", "levels", "classes", "class_frequencies")


def _flatten(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def config_changes(saved, config, only=("",)):
    """Lines 'field: saved -> now' for the fields that matter to the stored arrays.

    Args:
      saved: the config of a checkpoint, as read from JSON.
      config: today's ConfigDict; data fields left to the source (None) always agree.
      only: beginnings of the fields that are compared.
    """
    now = dict(_flatten(json.loads(json.dumps(config.to_dict()))))
    before = dict(_flatten(saved))
    left_to_source = {f"data.{f}" for f in FROM_SOURCE if config.data[f] is None}
    return [
        f"{field}: {before.get(field)} -> {now.get(field)}"
        for field in sorted(before.keys() | now.keys())
        if before.get(field) != now.get(field)
        and field.startswith(only)
        and not field.startswith(HARMLESS)
        and field not in left_to_source
    ]
