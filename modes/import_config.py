"""The config of a published checkpoint, for --mode=import.

Where it comes from, the first that is there:

1. --config, whatever the file.
2. The file itself: a folder that --mode=export wrote, or one of diffusers (config.json).
3. The file's name, where importers/known.py has it.
"""

from pathlib import Path

from components import ConfigError, pasteable
from configs import base, renamed
from importers import checkpoint, diffusers_scheduler, forms, known
from importers.refusal import RefusedFile
from models import MODELS
from modes import listing
from workdir.saved_config import leaves, read_config

# Of images in files, whose format every published checkpoint was trained on.
PIXEL_VALUES = 256
# More are not named where a config has to be chosen.
MOST_CANDIDATES = 12
# Of a field of our own export, a list: classes have their frequencies, and averages are few.
MOST_VALUES, MOST_AVERAGES = 50_000, 100
_DATA = "data_sets/unknown"


def config_for(path):
    """The ConfigDict of the experiment of a file, where the file or its name says enough.

    Raises:
      UserError: it does not, and the experiments are named that may be meant; or it cannot be read.
    """
    if checkpoint.is_own(path):
        return _of_own(checkpoint.folder_of(path))
    if checkpoint.is_diffusers(path):
        return _of_diffusers(path)
    found = None if Path(path).is_dir() else known.find(path)
    if found is None:
        raise _unknown(path)
    config = dict(listing.modules())[found.experiment].get_config()
    config.update_from_flattened_dict(found.fields or {})
    return config


def _of_own(folder):
    """The config of our own export, of which any part may have been changed since."""
    file = folder / checkpoint.CONFIG
    if not isinstance(checkpoint.read_json(file).get("config"), dict):
        raise RefusedFile(f'{file}: its entry "config" is no dict of fields.')
    config = read_config(folder, base.get_config(), renamed.upgraded)
    for name, value in leaves(config):
        most = MOST_AVERAGES if name.startswith("ema.") else MOST_VALUES
        if isinstance(value, tuple) and len(value) > most:
            raise RefusedFile(f"{file}: {name} has {len(value)} values, of {most} at most.")
    return config


def _unknown(path):
    """The ConfigError that names the experiments which a file may be of."""
    found = checkpoint.read(path)
    form = forms.FORMS[found.form]
    networks = [name for name, cls in MODELS.items() if cls in form.networks]
    fitting = {
        name: module.PAPER.parameters
        for name, module in listing.modules()
        if hasattr(module, "PAPER") and module.get_config().model.name in networks
    }
    if found.form == "diffusers" and (Path(path).parent / checkpoint.CONFIG).is_file():
        given = pasteable("from", Path(path).parent)
        return ConfigError(f"{path} has its config.json beside it: give the folder, {given}")
    if found.form == forms.CLASSIFIER:
        return _unknown_classifier(path, found.side, fitting)
    same = [name for name, parameters in fitting.items() if parameters == found.count]
    named = same or [*fitting]
    more = f" and {len(named) - MOST_CANDIDATES} more, see --list" if len(named) > MOST_CANDIDATES else ""
    what = "with as many" if same else "of this code, none with as many"
    return ConfigError(
        f"{path} is named as in {form.code} and has {found.count:,} parameters; its name is none of a known "
        f"checkpoint, and which experiment it is of is not in it. Name it by --config. Candidates, {what}: "
        f"{', '.join(named[:MOST_CANDIDATES])}{more}."
    )


def _unknown_classifier(path, side, named):
    """The ConfigError that names the experiments whose network a classifier may guide."""
    modules = dict(listing.modules())
    same = [name for name in named if modules[name].get_config().data.image_size == side]
    return ConfigError(
        f"{path} is a noisy classifier of guided-diffusion for images of side {side}; its name is none of a "
        "known checkpoint, and which process it was trained on is not in it. Name the experiment of the "
        f"network that it guides by --config. Candidates, of that side: {', '.join(same) or 'none'}."
    )


def _of_diffusers(path):
    """The config of a folder of diffusers: the network of its config.json, the process of its scheduler."""
    found, scheduler = checkpoint.architecture(path)
    network, config = found.network, base.get_config()
    config.model.name = next(name for name, cls in MODELS.items() if isinstance(network, cls))
    for field in set(config.model) - {"name"}:
        value = getattr(network, field, None)
        if value is not None:
            config.model[field] = value
    config.data.source = f"folder:{_DATA}"
    config.data.image_size, config.data.channels = found.image_side, found.image_channels
    config.data.centered = not getattr(network, "recentre", False)
    try:
        diffusers_scheduler.set_process(config, scheduler or {})
    except ValueError as error:
        raise RefusedFile(f"{path}: its scheduler has {error}. Give a --config.") from None
    return config


def notes_on_diffusers(path):
    """Lines about what the config of a folder of diffusers has, and the folder does not say."""
    if checkpoint.scheduler(path) is None:
        yield "there is no scheduler_config.json: the process is taken to be that of Ho et al. (2020)"
    yield f"the data is not in this folder; modes that need it take --config.data.source, not {_DATA}"


def complete(config, found):
    """Fills in what a data set would say, as far as the file or its experiment does.

    Raises:
      ConfigError: what is not known has to be given.
    """
    data = config.data
    if found.side is not None and data.image_size not in (None, found.side):
        raise ConfigError(
            f"data.image_size={data.image_size}, and the network in the file is made for side {found.side}. "
            f"Set data.image_size={found.side}, or choose another --config."
        )
    data.image_size = data.image_size or found.side
    for field in ("image_size", "channels"):
        if data[field] is None:
            raise ConfigError(f"data.{field} is not known from this file: --config.data.{field}=...")
    data.pixel_values = data.pixel_values or PIXEL_VALUES
    if data.classes and data.class_frequencies is None:
        data.class_frequencies = (1 / data.classes,) * data.classes
