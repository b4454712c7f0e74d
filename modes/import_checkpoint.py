"""--mode=import: a published checkpoint becomes a workdir, on which every mode works.

A classifier of noisy images becomes a workdir too, which holds no run: experiment.load_classifier reads it.
Its config is that of the network that it guides.

Where the config comes from, the first that is there:

1. --config, whatever the file.
2. The file itself: a folder that --mode=export wrote, or one of diffusers (config.json).
3. The file's name, where importers/known.py has it.

Samples are drawn from averaged parameters. All averages that the config keeps begin at the file's, and where
a file has one set of weights alone, average and parameters are both it. The optimizer begins anew.
"""

import functools
import hashlib
import os
import secrets
import shutil
from pathlib import Path

import jax
import numpy as np

from components import ConfigError, UserError
from configs import base
from denoisers.uncertainty import WithUncertainty
from experiment import classifier
from experiment.create import create, resolved
from importers import adm_classifier, checkpoint, known, mapping
from importers.refusal import RefusedFile
from models import MODELS
from modes import MODES, check, listing
from training import state as train_state
from workdir.checkpoints import Checkpoints
from workdir.files import prepare_workdir, write_json
from workdir.lock import Lock
from workdir.provenance import collect
from workdir.records import say
from workdir.saved_config import CLASSIFIER, read_config

# Of images in files, whose format every published checkpoint was trained on.
PIXEL_VALUES = 256
# More are not named where a config has to be chosen.
MOST_CANDIDATES = 12
_DATA = "data_sets/unknown"
_PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}


def config_for(path):
    """The ConfigDict of the experiment of a file, where the file or its name says enough.

    Raises:
      UserError: it does not, and the experiments are named that may be meant; or it cannot be read.
    """
    if checkpoint.is_own(path):
        return read_config(checkpoint.folder_of(path), base.get_config())
    if checkpoint.is_diffusers(path):
        return _of_diffusers(path)
    found = known.find(path)
    if found is None:
        raise _unknown(path)
    config = dict(listing.modules())[found.experiment].get_config()
    config.update_from_flattened_dict(found.fields or {})
    say(f"{Path(path).name} is a checkpoint of {found.paper}: {found.experiment}")
    return config


def _unknown(path):
    """The ConfigError that names the experiments which a file may be of."""
    found = checkpoint.read(path)
    form = checkpoint.FORMS[found.form]
    networks = [name for name, cls in MODELS.items() if cls in form.networks]
    fitting = {
        name: module.PAPER.parameters
        for name, module in listing.modules()
        if hasattr(module, "PAPER") and module.get_config().model.name in networks
    }
    if found.form == checkpoint.CLASSIFIER:
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
    if scheduler is None:
        say("note: there is no scheduler_config.json: the process is taken to be that of Ho et al. (2020)")
    _set_process(config, path, scheduler or {})
    say(f"note: the data is not in this folder; modes that need it take --config.data.source, not {_DATA}")
    return config


def _set_process(config, path, scheduler):
    """The process and the parametrization of a scheduler_config.json."""
    schedule, levels = scheduler.get("beta_schedule", "linear"), scheduler.get("num_train_timesteps", 1_000)
    betas = [scheduler.get("beta_start", 1e-4), scheduler.get("beta_end", 0.02)]
    prediction = scheduler.get("prediction_type", "epsilon")
    if schedule not in ("linear", "squaredcos_cap_v2") or prediction not in (*_PREDICTIONS,):
        raise RefusedFile(
            f"{path}: its scheduler has beta_schedule={schedule!r}, prediction_type={prediction!r}; linear "
            "and squaredcos_cap_v2, and epsilon, v_prediction and sample are known. Give a --config."
        )
    if type(levels) is not int or levels < 2 or not all(isinstance(beta, float | int) for beta in betas):
        raise RefusedFile(f"{path}: its scheduler has no numbers where they belong. Give a --config.")
    config.sde.noise_levels = levels
    if schedule == "linear":
        config.sde.name = "ddpm"
        config.sde.beta_min, config.sde.beta_max = (float(beta * levels) for beta in betas)
    else:
        config.sde.name = "iddpm"
    config.denoiser.parametrization = _PREDICTIONS[prediction]
    config.denoiser.noise_input = "index"
    config.loss.time_grid = "discrete"
    config.loss.noise_levels = levels


def run(config, workdir, source, experiment=None):
    """--mode=import: writes a checkpoint and config.json into the workdir; nothing where anything is amiss.

    Args:
      source: the file or folder.
      experiment: --config, where it was given.

    Raises:
      UserError: a file that cannot be read, tensors that do not fit, or a workdir with a run in it.
    """
    _require_free(workdir)
    found = checkpoint.read(source)
    complete(config, found)
    check.require("import", config)
    if found.form == checkpoint.CLASSIFIER:
        return _run_of_classifier(config, workdir, source, found, experiment)
    created = create(config, MODES["import"].reads)
    params, averages = _converted(found, created, config, source)
    state = train_state.create(
        params, created.optimizer, created.ema_names, created.objective.history()
    ).replace(step=np.int32(found.step or 0), ema=averages)
    for note in found.notes:
        say(f"note: {note}")
    imported = _provenance(source, found, experiment)
    trained_on = (found.record or {}).get("data") or []
    content = {"config": config.to_dict(), "provenance": collect(), "data": trained_on, "imported": imported}
    save = functools.partial(_save, config=config, state=state, content=content)
    _write(workdir, save, ("checkpoints", "config.json"))
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    at = "of an unknown step" if found.step is None else f"of step {found.step}"
    say(f"imported {size / 1e6:.2f}M parameters {at}, {imported['average']}, into {workdir}")
    say(f"to sample: python main.py --workdir={workdir} --mode=sample")


def _run_of_classifier(config, workdir, source, found, experiment):
    """Writes the classifier's file into the workdir, and nothing else."""
    made, params = _converted_classifier(found, config, source)
    imported = _provenance(source, found, experiment)
    record = {"config": config.to_dict(), "provenance": collect(), "imported": imported}
    shape = (made.image_side, made.image_side, made.image_channels)
    save = functools.partial(
        classifier.write, network=made.network, params=params, image_shape=shape, record=record
    )
    _write(workdir, save, (CLASSIFIER,))
    say(
        f"imported a classifier of {made.network.classes} classes, {found.count / 1e6:.2f}M parameters, into "
        f"{workdir}"
    )
    say(f'no mode reads it yet; from Python: experiment.load_classifier("{workdir}")')


def check_file(config, workdir, source):
    """Raises UserError for what `run` would refuse of a file, a config and a workdir; writes nothing."""
    if workdir:
        _require_free(workdir)
    found = checkpoint.read(source)
    complete(config, found)
    check.require("import", config)
    if found.form == checkpoint.CLASSIFIER:
        _converted_classifier(found, config, source)
    else:
        _converted(found, create(config, MODES["import"].reads), config, source)


def _require_free(workdir):
    """Refuses a workdir that holds a run or a classifier."""
    for name in ("checkpoints", "config.json", CLASSIFIER):
        if (Path(workdir) / name).exists():
            what = "a classifier" if name == CLASSIFIER else "a run"
            raise UserError(f"{workdir} holds {what} already ({name}): choose another --workdir.")


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


def _converted(found, created, config, source):
    """(our parameters, {name: averaged parameters}) of a Checkpoint.

    Raises:
      UserError: the tensors are not those of the config's network; all of them are named.
    """
    template, network = created.params_template(), created.denoiser.network
    inner = network.network if isinstance(network, WithUncertainty) else network
    form = checkpoint.FORMS[found.form]
    if form.networks and not isinstance(inner, form.networks):
        known_names = [name for name, cls in MODELS.items() if cls in form.networks]
        raise ConfigError(
            f"{source} is named as in {form.code}, whose networks are {' and '.join(known_names)}; "
            f'model.name="{config.model.name}" with denoiser.variance_head="{config.denoiser.variance_head}" '
            "is another. Choose another --config."
        )
    if inner is not network and found.form not in ("edm2", "undrift"):
        raise ConfigError(
            f"{source} is named as in {form.code}, which learns no uncertainty beside its network: set "
            "denoiser.uncertainty=False."
        )
    try:
        rows = form.rows(inner, template, config.data.image_size)
    except ValueError as error:
        raise ConfigError(
            f"{source} is named as in {form.code}: {str(error)[:200]}. Choose another --config, or change "
            "model.* and denoiser.*."
        ) from None

    def converted(arrays):
        result = mapping.convert(arrays, template, rows, form.ignored(arrays, template))
        advice = "the network of the config; nothing was written. Choose another --config, or change model.*"
        return _whole(result, source, advice)

    params = converted(found.parameters)
    if found.form != "undrift":
        average = converted(found.averages[""]) if found.averages else params
        return params, dict.fromkeys(created.ema_names, average)
    if set(found.averages) != set(created.ema_names):
        raise ConfigError(
            f"{source} has the averages {', '.join(found.averages)}, and the config keeps "
            f"{', '.join(created.ema_names)}: leave ema.* as it was."
        )
    return params, {name: converted(average) for name, average in found.averages.items()}


def _converted_classifier(found, config, source):
    """(importers.adm_classifier.Architecture, our parameters) of a classifier's Checkpoint.

    Raises:
      UserError: a part is missing, left over or misshapen, or the config is of other images or classes.
    """
    made = adm_classifier.architecture(found.parameters)
    for field, value in (("channels", made.image_channels), ("classes", made.network.classes)):
        if config.data[field] != value:
            raise ConfigError(
                f"data.{field}={config.data[field]}, and the classifier in {source} is made for {value}. "
                f"Set data.{field}={value}, or choose another --config."
            )
    template = mapping.template(made.network, made.image_side, made.image_channels)
    rows = checkpoint.FORMS[found.form].rows(made.network, template, made.image_side)
    result = mapping.convert(found.parameters, template, rows)
    return made, _whole(result, source, "a classifier of guided-diffusion; nothing was written")


def _whole(result, source, advice):
    """The parameters of a mapping.Converted; UserError with its table where it is not complete."""
    if not result.complete:
        raise UserError(f"{source} does not fit {advice}:\n{result.table()}")
    return result.params


def _provenance(source, found, experiment):
    """What is recorded of where the weights are from, for JSON."""
    entry = known.find(source)
    experiment = experiment or (entry.experiment if entry else None)
    described = {
        "file": Path(source).name,
        "files": [_described(path) for path in checkpoint.files(source)],
        "form": checkpoint.FORMS[found.form].code,
        "experiment": experiment,
        "average": _average(found),
        "step": found.step,
        "notes": list(found.notes),
    }
    if entry and experiment == entry.experiment:
        described |= {"published_at": entry.source, "licence": entry.licence, "note": entry.note}
        digest = _digest(source, "md5") if entry.md5 else None
        if digest != entry.md5:
            say(f"warning: {source} has the MD5 {digest}, and the published file {entry.md5}")
    if "imported" in (found.record or {}):
        described["imported_before"] = found.record["imported"]
    return described


def _average(found):
    if not found.averages:
        return "the one set of weights in the file as parameters and as average"
    if all(average.get(n) is a for average in found.averages.values() for n, a in found.parameters.items()):
        return "its average, which stands for the parameters too"
    return "parameters and averages"


def _described(path):
    """Name, size and digest of a file."""
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": _digest(path, "sha256")}


def _digest(path, kind):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _write(workdir, save, names):
    """Writes into a workdir what `save(folder)` puts into a folder, whole or not at all.

    Args:
      names: of the files and folders that it makes.
    """
    new = not Path(workdir).exists()
    prepare_workdir(workdir)
    staging = Path(workdir) / f".{secrets.token_hex(4)}-import"
    try:
        with Lock(workdir):
            _require_free(workdir)
            staging.mkdir()
            save(staging)
            for name in names:
                os.replace(staging / name, Path(workdir) / name)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if new and not any(Path(workdir).iterdir()):
            Path(workdir).rmdir()
        raise
    shutil.rmtree(staging, ignore_errors=True)


def _save(folder, config, state, content):
    """A checkpoint and config.json."""
    checkpoints = Checkpoints(folder, resolved(config))
    checkpoints.imported, checkpoints.trained_on = content["imported"], content["data"]
    try:
        checkpoints.save(state)
        checkpoints.finish()
    finally:
        checkpoints.close()
    write_json(folder / "config.json", content)
