"""What makes a checkpoint fit a config: a list of the fields that give the stored arrays their meaning."""

from workdir import strict_json

# Beginnings of the fields that say what the parameters are: sampling and evaluation need these alone.
OF_THE_MODEL = (
    "data.centered",
    "data.channels",
    "data.classes",
    "data.image_size",
    "data.pixel_values",
    "denoiser.",
    "ema.decays",
    "model.",
    "sde.",
)
# Those that training needs as well: what is averaged over, and what optimizer and averages hold.
OF_THE_TRAINING = (
    *OF_THE_MODEL,
    "data.",
    "ema.",
    "loss.",
    "mixture.",
    "optim.name",
    "seed",
    "training.batch_size",
    "training.network_from",
    "training.parallel",
)
# Fields among them that change no stored array, nor what it means.
NOT_STORED = (
    "data.directory",
    "data.memory_gib",
    "data.threads",
    "denoiser.precision",
    "model.dropout",
    "model.dtype",
    "sde.sampling_t_min",
)
FROM_SOURCE = ("image_size", "channels", "pixel_values", "classes", "class_frequencies")


def _flatten(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def config_changes(saved, config, meaning=OF_THE_TRAINING):
    """Lines 'field: saved -> now' for the fields that matter to the stored arrays.

    Args:
      saved: the config of a checkpoint, as read from JSON.
      config: today's ConfigDict; data fields left to the source (None) always agree.
      meaning: beginnings of the fields that are compared.
    """
    now = dict(_flatten(strict_json.plain(config.to_dict())))
    before = dict(_flatten(strict_json.plain(saved)))
    left_to_source = {f"data.{f}" for f in FROM_SOURCE if config.data[f] is None}
    return [
        f"{field}: {before.get(field)} -> {now.get(field)}"
        for field in sorted(before.keys() | now.keys())
        if before.get(field) != now.get(field)
        and field.startswith(meaning)
        and field not in NOT_STORED
        and field not in left_to_source
    ]
