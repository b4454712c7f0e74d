"""A published checkpoint as parameters and averages by name, whatever its file: `read`.

A form is a code base's way to name the parts of its networks (importers/forms.py). It comes in several kinds
of files, and with or without something around it: an optimizer, averages, the preconditioning. What a file
holds is seen from its keys and from the names of its arrays, never from its own name.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from importers import (
    adm,
    adm_classifier,
    diffusers,
    edm,
    flax_msgpack,
    mapping,
    modules,
    safetensors,
    song,
)
from importers.forms import CLASSIFIER, form_of
from importers.names import Record
from importers.opened import opened
from importers.refusal import RefusedFile, shown, type_name
from importers.unpickling import load

# Of our own export, in its folder.
PARAMETERS, AVERAGES, CONFIG = "parameters.safetensors", "averages.safetensors", "config.json"
# Of a folder of diffusers: weights, the first that is there, and the process.
DIFFUSERS_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
SCHEDULER = "scheduler_config.json"
# Larger JSON is no config.
_LARGEST_JSON = 1 << 20


# Parts of a network's state that nobody trains.
_FIXED = re.compile(r"(?:^|[./])(?:resample_filter|freqs|phases|sigmas|frequencies|u)$")


class Checkpoint(NamedTuple):
    """What a file holds.

    Attributes:
      form: key of importers.forms.FORMS.
      parameters: {name: array}; the averages where the file has nothing else.
      averages: {name of the average: {name: array}}; "" where the file gives the average no name. {} where
        the file does not say that it has one.
      step: optimizer steps, where the file says it; else None.
      notes: lines about the file that its user should read.
      record: of our own export, what its checkpoint recorded; else None.
    """

    form: str
    parameters: dict
    averages: dict
    step: int | None = None
    notes: tuple = ()
    record: dict | None = None

    @property
    def side(self):
        """The side of the images that the network was made for, where names of arrays say it; else None."""
        if self.form == CLASSIFIER:
            return adm_classifier.architecture(self.parameters).image_side
        return edm.side(self._below("unet.")) if self.form in ("edm", "edm2") else None

    def _below(self, prefix):
        return {name.removeprefix(prefix): array for name, array in self.parameters.items()}

    @property
    def count(self):
        """How many numbers are trained, as the papers count them."""
        sizes = {name: np.size(array) for name, array in self.parameters.items()}
        fixed = {name for name in sizes if _FIXED.search(name)}
        fixed |= {n for n in sizes if re.search(r"[./]W$", n) and np.ndim(self.parameters[n]) == 1}
        return sum(size for name, size in sizes.items() if name not in fixed)


def read(path):
    """The Checkpoint of a file or folder.

    Raises:
      RefusedFile: it is missing, damaged, hostile, or of no form that is known here.
    """
    path = Path(path)
    if is_own(path):
        return _own(folder_of(path))
    if path.is_dir():
        return _of_diffusers(path)
    try:
        return _of_object(_contents(path))
    except RefusedFile as refused:
        # Raised below for what is in the file, which is not known there.
        text = str(refused)
        raise RefusedFile(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except ValueError as error:
        raise RefusedFile(f"{path}: {error}.") from None
    except (TypeError, AttributeError, KeyError, IndexError, RecursionError) as error:
        raise RefusedFile(f"{path}: it makes no sense ({type_name(error)}): the file is damaged.") from error


def files(path):
    """Path of every file that `read` would read, a file's own or those in a folder."""
    path = Path(path)
    if not path.is_dir() and not is_own(path):
        return [path]
    known = (PARAMETERS, AVERAGES, CONFIG, *DIFFUSERS_WEIGHTS, SCHEDULER)
    folder = folder_of(path) if is_own(path) else _diffusers_folder(path)
    return [folder / name for name in known if (folder / name).is_file()]


def is_diffusers(path):
    """Whether a path is a folder of diffusers."""
    return Path(path).is_dir() and (_diffusers_folder(path) / CONFIG).is_file() and not is_own(path)


def is_own(path):
    """Whether a path is a folder that --mode=export wrote, or the parameters in it."""
    folder = folder_of(path)
    return (folder / PARAMETERS).is_file() and (folder / CONFIG).is_file()


def folder_of(path):
    """The folder of our own export, given it or its parameters."""
    path = Path(path)
    return path.parent if path.name == PARAMETERS and not path.is_dir() else path


def read_json(path):
    """The dict of a JSON file.

    Raises:
      RefusedFile: there is none, or it holds something else.
    """
    try:
        with opened(path) as file:
            content = file.read(_LARGEST_JSON + 1)
        if len(content) > _LARGEST_JSON:
            raise ValueError("it is too large")
        found = json.loads(content.decode())
        if not isinstance(found, dict):
            raise ValueError("it holds no dict")
        return found
    except (OSError, ValueError, RecursionError) as error:
        raise RefusedFile(f"{path}: no config ({shown(str(error))}).") from None


def architecture(path):
    """(importers.diffusers.Architecture, scheduler_config.json as a dict or None) of a folder of diffusers.

    Raises:
      RefusedFile: a config.json that is damaged or describes what no network here computes.
    """
    folder = _diffusers_folder(path)
    arrays = diffusers.renamed(_diffusers_arrays(folder))
    try:
        found = diffusers.architecture(read_json(folder / CONFIG), arrays)
    except (ValueError, TypeError, AttributeError) as error:
        raise RefusedFile(f"{folder / CONFIG}: {error}.") from None
    return found, scheduler(path)


def scheduler(path):
    """scheduler_config.json of a folder of diffusers as a dict, or None where there is none."""
    places = (_diffusers_folder(path), Path(path), Path(path) / "scheduler")
    found = (place / SCHEDULER for place in places)
    return next((read_json(place) for place in found if place.is_file()), None)


def _contents(path):
    """The object of a file, by its first bytes."""
    with opened(path) as file:
        head = file.read(16)
    if head[8:10] == b'{"':
        return safetensors.read(path)
    if flax_msgpack.starts(head):
        return flax_msgpack.read(path)
    return load(path)


def _own(folder):
    """Our own export: all averages by name."""
    averages = {}
    for name, array in safetensors.read(folder / AVERAGES).items():
        average, _, path = name.partition("/")
        averages.setdefault(average, {})[path] = array
    record = read_json(folder / CONFIG)
    data = record.get("data", [])
    if not isinstance(data, list) or not all(one is None or isinstance(one, dict) for one in data):
        raise RefusedFile(f"{folder / CONFIG}: its data is no list of what the weights were trained on.")
    step = record.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < 2**31:
        raise RefusedFile(f"{folder / CONFIG}: it gives no step.")
    return Checkpoint("undrift", safetensors.read(folder / PARAMETERS), averages, step, record=record)


def _diffusers_folder(path):
    """The folder of the network within that of a pipeline."""
    below = Path(path) / "unet"
    return below if (below / CONFIG).is_file() else Path(path)


def _diffusers_arrays(folder):
    weights = next((folder / name for name in DIFFUSERS_WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise RefusedFile(
            f"{folder}: in this folder there is neither {PARAMETERS}, as --mode=export writes it, nor "
            f"{DIFFUSERS_WEIGHTS[0]} of diffusers. Give a file, or one of these folders."
            f"{_of_snapshots(folder)}{_of_other_weights(folder)}"
        )
    return safetensors.read(weights) if weights.suffix == ".safetensors" else load(weights)


def _of_snapshots(folder):
    """What is said of a folder with several snapshots of EDM2; "" of another."""
    if len(list(folder.glob("*-0.[0-9][0-9][0-9].pkl"))) < 2:
        return ""
    return " Snapshots of EDM2 are imported one by one: several do not become those of --mode=ema."


def _of_other_weights(folder):
    """What is said of a folder whose weights are a variant or lie in several files; "" of another."""
    others = sorted(file.name for file in folder.glob("diffusion_pytorch_model*"))
    if not others:
        return ""
    return (
        f" {shown(others[0])} is a variant, or one of several files with the weights, which are not read: "
        'diffusers makes one file of them, save_pretrained(folder, max_shard_size="100GB").'
    )


def _of_diffusers(path):
    arrays = _diffusers_arrays(_diffusers_folder(path))
    return Checkpoint("diffusers", diffusers.renamed(arrays), {})


def _of_object(thing):
    """The Checkpoint of what a file holds."""
    if isinstance(thing, dict):
        if "model" in thing and "ema" in thing:
            params, average = song.pytorch_weights(thing)
            return _of_arrays(params, {"": average}, _step(thing.get("step")))
        if "params_ema" in thing:
            params, average = song.flax_weights(thing)
            return Checkpoint("score_sde", params, {"": average}, _step(thing.get("step")))
        if "ema_models_states" in thing:
            params, average = adm.analytic_dpm_weights(thing)
            return _of_arrays(params, {"": average}, _step(thing.get("step")))
        if "net" in thing and {"optimizer", "optimizer_state"} & set(thing):
            raise RefusedFile(
                "it is a training-state of EDM or EDM2, from which their training goes on. Take "
                "network-snapshot-*.pkl of the same number in its folder: the average is in it."
            )
        for key in ("ema", "net"):
            if isinstance(thing.get(key), Record):
                return _of_module(thing[key], averaged=key == "ema")
    if isinstance(thing, Record):
        return _of_module(thing, averaged=False)
    if isinstance(thing, list | tuple) and thing and isinstance(thing[0], dict):
        # NCSN: state, optimizer; NCSNv2 and DDIM: state, optimizer, epoch, step, average.
        last = thing[-1] if len(thing) > 3 and isinstance(thing[-1], dict) else None
        averages = {} if last is None else {"": last}
        return _of_arrays(thing[0], averages, _step(thing[3]) if len(thing) > 3 else None)
    if isinstance(thing, dict) and isinstance(thing.get("state_dict"), dict):
        thing = thing["state_dict"]
    return _of_arrays(thing, {})


def _of_module(module, averaged):
    """A network that was pickled whole: EDM's within its preconditioning."""
    arrays = modules.state_dict(module)
    notes = ()
    if module.name.rpartition(".")[2] in ("VPPrecond", "VEPrecond", "iDDPMPrecond"):
        notes = (
            f"the network stands in {shown(module.name)} there: denoiser.parametrization, "
            "denoiser.noise_input and sde of the config must say the same",
        )
    return _of_arrays(arrays, {"": arrays} if averaged else {}, notes=notes)


def _of_arrays(arrays, averages, step=None, notes=()):
    """A Checkpoint whose form is seen from the names; parameters without what stands before each of them."""
    arrays = _named_arrays(arrays)
    averages = {name: _named_arrays(average) for name, average in averages.items()}
    form = form_of(arrays)
    if form in ("edm", "diffusers"):
        strip = {"edm": lambda a: mapping.without_prefix(a, "model."), "diffusers": diffusers.renamed}[form]
        arrays, averages = strip(arrays), {name: strip(average) for name, average in averages.items()}
    left_out = song.unread(arrays) if form == "score_sde_pytorch" else []
    if left_out:
        arrays = song.without(arrays, left_out)
        averages = {name: song.without(average, left_out) for name, average in averages.items()}
        notes = (
            f"the network is not told the noise level; {len(left_out)} arrays of its file that nothing reads "
            f"were left out: {', '.join(left_out[:3])}{', ...' if len(left_out) > 3 else ''}",
        )
    return Checkpoint(form, arrays, averages, step, notes)


def _named_arrays(thing):
    """{name: array} without `module.` of data parallelism before each name; other things are left out."""
    found = {}
    if isinstance(thing, dict):
        found = {n: a for n, a in thing.items() if isinstance(n, str) and isinstance(a, np.ndarray)}
    if not found:
        raise RefusedFile("it holds no arrays by name: no checkpoint of a network.")
    return mapping.without_prefix(found, "module.")


def _step(value):
    """A number of steps, or None where it is none."""
    value = np.asarray(value)
    if value.size != 1 or value.dtype.kind not in "iu":
        return None
    return int(value.ravel()[0]) if 0 <= value.ravel()[0] < 2**31 else None
