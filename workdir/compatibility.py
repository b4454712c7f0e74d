"""What makes a checkpoint fit a config: a list of the fields that give the stored arrays their meaning."""

from components import ConfigError
from workdir import strict_json
from workdir.unread import unread

# Beginnings of the fields that say what the parameters are: sampling and evaluation need these alone.
OF_THE_MODEL = (
    "data.centered",
    "data.channels",
    "data.classes",
    "data.image_size",
    "data.pixel_values",
    "denoiser.",
    "ema.decays",
    "ema.half_life_images",
    "ema.power_stds",
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
)
# Fields that choose the data: what they choose is compared, by its identity, and not how it is written.
OF_THE_DATA = ("source", "holdout", "background", "crop", "crop_corner", "resize")
# Fields among them that change no stored array, nor what it means.
NOT_STORED = (
    *(f"data.{field}" for field in OF_THE_DATA),
    "data.allow_changed",
    "data.class_frequencies",
    "data.directory",
    "data.memory_gib",
    "data.threads",
    "denoiser.precision",
    "ema.reconstruct_std",
    "ema.reconstruct_step",
    "ema.snapshot_every",
    "model.dropout",
    "model.dtype",
    "model.rematerialization",
    "sde.sampling_t_min",
)
# Fields that came later and change what is stored, with the value that older checkpoints were made with.
BEFORE = {"denoiser.uncertainty": False, "ema.half_life_images": None, "ema.power_stds": []}
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
      config: today's ConfigDict; data fields left to the source (None) always agree, and so do fields that
        there were none of when the checkpoint was made, but for those in BEFORE, and fields that nothing
        reads now.
      meaning: beginnings of the fields that are compared.
    """
    now = dict(_flatten(strict_json.plain(config.to_dict())))
    before = {**BEFORE, **dict(_flatten(strict_json.plain(saved)))}
    nowhere_read = unread(config)
    left_to_source = {f"data.{f}" for f in FROM_SOURCE if config.data[f] is None}
    return [
        f"{field}: {before[field]} -> {now.get(field)}"
        for field in sorted(before)
        if before[field] != now.get(field)
        and field.startswith(meaning)
        and field not in NOT_STORED
        and field not in left_to_source
        and field not in nowhere_read
    ]


def differences(was, now):
    """Lines on what one split of the data has changed, from identity to identity."""
    if was["images"] != now["images"]:
        yield f"{was['images']} images -> {now['images']}"
        return
    # What nothing but reading can tell decides, where it is known: it is not of large sets.
    known = was["contents"] and now["contents"]
    decisive = ("contents", "labels") if known else ("names", "sizes", "labels", "recipe")
    if any(was[what] != now[what] for what in decisive):
        told = ("names", "sizes", "contents", "labels") if known else decisive
        yield f"other {', '.join(what for what in told if was[what] != now[what])} of {now['images']} images"


def trained_on(record):
    """Identities of all data that the model of a checkpoint was trained on; None for what is not known."""
    return record.get("data") or [None]


def data_changes(record, config, identity, latest=False):
    """Lines on how data differs from what a model was trained on; none where it is equal, wherever it lies.

    Args:
      record: of a checkpoint; its `data` lists the identities of all data that it was trained on.
      config: today's ConfigDict.
      identity: {split: what data.Source.identity tells}, of the splits to compare.
      latest: compare with the last data that it was trained on alone.
    """
    lines = []
    for data in trained_on(record)[-1:] if latest else trained_on(record):
        if data is None and "imported" in record:
            continue  # nobody can tell; experiment/run_data.py says so
        if data is None:
            lines.append("an older version trained it, which did not record its data")
        else:
            lines += [
                f"{split}: {line}" for split in identity for line in differences(data[split], identity[split])
            ]
    before = record["config"]["data"]
    fields = [
        f"data.{field}: {before[field]} -> {config.data[field]}"
        for field in OF_THE_DATA
        if lines and field in before and before[field] != config.data[field]
    ]
    return [*fields, *dict.fromkeys(lines)]


def require_same_data(changes, config, what):
    """Refuses changed data, unless `data.allow_changed` allows it.

    Args:
      changes: from `data_changes`; what: the run or network that was trained on other data, for the message.

    Raises:
      ConfigError: names what changed.
    """
    if changes and not config.data.allow_changed:
        raise ConfigError(
            f"The data is not what {what} was trained on: {'; '.join(changes)}. Images that are held out now "
            "may have been trained on. Put the data back, or set data.allow_changed=True."
        )
