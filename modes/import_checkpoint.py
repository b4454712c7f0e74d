"""--mode=import: a published checkpoint becomes a workdir, on which every mode works.

A classifier of noisy images becomes a workdir too, which holds no run: experiment.load_classifier reads it.
Its config is that of the network that it guides.

Samples are drawn from averaged parameters. All averages that the config keeps begin at the file's, and where
a file has one set of weights alone, average and parameters are both it. The optimizer begins anew.
"""

import functools
import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path

import jax
import numpy as np

from components import ConfigError, UserError, pasteable
from denoisers.uncertainty import WithUncertainty
from experiment import classifier
from experiment.create import create, resolved
from importers import adm_classifier, checkpoint, forms, known, mapping
from importers.refusal import shown
from models import MODELS
from modes import MODES, check
from modes.import_config import complete, config_for, notes_on_diffusers
from training.state import TrainState
from workdir.checkpoints import Checkpoints
from workdir.files import prepare_workdir, write_json
from workdir.lock import Lock
from workdir.provenance import collect
from workdir.records import say
from workdir.saved_config import CLASSIFIER

# `config_for` is asked for here by the command line, as of every mode that reads a file.
__all__ = ["check_file", "config_for", "run"]

# Of EDM2's snapshots: thousands of images, or what is posted, then the width of the average.
_WIDTH = re.compile(r"-(0\.\d{3})\.pkl$")


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
    if found.form == forms.CLASSIFIER:
        return _run_of_classifier(config, workdir, source, found, experiment)
    created = create(config, MODES["import"].reads)
    params, averages = _converted(found, created, config, source)
    if found.form == "diffusers" and experiment is None:
        found = found._replace(notes=(*found.notes, *notes_on_diffusers(source)))
    for note in (*found.notes, *_notes_on_width(found, config, source)):
        say(f"note: {note}")
    imported = _provenance(source, found, experiment)
    found = found._replace(parameters={}, averages={})  # as large as ours
    # Ours stay on the host: training.state.create would copy each to the device.
    state = TrainState(
        np.int32(found.step or 0),
        params,
        jax.jit(created.optimizer.init)(params),
        averages,
        created.objective.history(),
    )
    content = {"config": config.to_dict(), "provenance": collect(), "imported": imported}
    content["data"] = (found.record or {}).get("data") or []
    save = functools.partial(_save, config=config, state=state, content=content)
    _write(workdir, save, ("checkpoints", "config.json"))
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    at = "of an unknown step" if found.step is None else f"of step {found.step}"
    say(f"imported {size / 1e6:.2f}M parameters {at}, {imported['average']}, into {workdir}")
    say(f"to sample: python main.py {pasteable('workdir', workdir)} --mode=sample")


def _notes_on_width(found, config, source):
    """Says where EDM2's name of a file has another width of its average than the config."""
    named = _WIDTH.search(Path(source).name) if found.form == "edm2" else None
    if named and config.ema.power_stds != (float(named[1]),):
        yield (
            f"by its name the average in {Path(source).name} is of width {named[1]}, and the config keeps "
            f"ema.power_stds={config.ema.power_stds}, which all begin at it. To keep it by its width: "
            f'--config.ema.power_stds="({float(named[1])},)"'
        )


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
    say(f"no mode reads it yet; from Python: experiment.load_classifier({str(workdir)!r})")


def check_file(config, workdir, source):
    """Raises UserError for what `run` would refuse of a file, a config and a workdir; writes nothing."""
    if workdir:
        _require_free(workdir)
    found = checkpoint.read(source)
    complete(config, found)
    check.require("import", config)
    if found.form == forms.CLASSIFIER:
        _converted_classifier(found, config, source)
    else:
        _converted(found, create(config, MODES["import"].reads), config, source)


def _require_free(workdir):
    """Refuses a workdir that holds a run or a classifier."""
    for name in ("checkpoints", "config.json", CLASSIFIER):
        if (Path(workdir) / name).exists():
            what = "a classifier" if name == CLASSIFIER else "a run"
            raise UserError(f"{workdir} holds {what} already ({name}): choose another --workdir.")


def _converted(found, created, config, source):
    """(our parameters, {name: averaged parameters}) of a Checkpoint.

    Raises:
      UserError: the tensors are not those of the config's network; all of them are named.
    """
    template, network = created.params_template(), created.denoiser.network
    inner = network.network if isinstance(network, WithUncertainty) else network
    form = forms.FORMS[found.form]
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
        average = params if _alike(found) else converted(found.averages[""])
        return params, dict.fromkeys(created.ema_names, average)
    if set(found.averages) != set(created.ema_names):
        raise ConfigError(
            f"{source} has the averages {_listed(found.averages)}, and the config keeps "
            f"{_listed(created.ema_names)}: leave ema.* as it was."
        )
    return params, {name: converted(average) for name, average in found.averages.items()}


def _listed(names):
    """A few names of a file, for a message."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(shown(name) for name in [*names][:5]) + more


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
    rows = forms.FORMS[found.form].rows(made.network, template, made.image_side)
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
    if entry and experiment is None:
        say(f"{Path(source).name} is a checkpoint of {entry.paper}: {entry.experiment}")
    experiment = experiment or (entry.experiment if entry else None)
    described = {
        "file": Path(source).name,
        "files": [_described(path) for path in checkpoint.files(source)],
        "form": forms.FORMS[found.form].code,
        "experiment": experiment,
        "average": _average(found),
        "step": found.step,
        "notes": list(found.notes),
    }
    if entry and not _is_of(experiment, entry):
        say(
            f"warning: by its name {Path(source).name} is a checkpoint of {entry.paper}, {entry.experiment}, "
            f"and --config={experiment} is another"
        )
    elif entry:
        described |= {"published_at": entry.source, "licence": entry.licence, "note": entry.note}
        digest = _digest(source, "md5") if entry.md5 else None
        if digest != entry.md5:
            say(f"warning: {source} has the MD5 {digest}, and the published file {entry.md5}")
    if "imported" in (found.record or {}):
        described["imported_before"] = found.record["imported"]
    return described


def _is_of(experiment, entry):
    """Whether --config names the experiment of a known file, from whatever folder."""
    parts = Path(entry.experiment).parts
    return Path(experiment).parts[-len(parts) :] == parts


def _alike(found):
    """Whether the file has no other averages than the parameters themselves."""
    return all(
        average.get(name) is array
        for average in found.averages.values()
        for name, array in found.parameters.items()
    )


def _average(found):
    if not found.averages:
        return "the one set of weights in the file as parameters and as average"
    if _alike(found):
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
        with Lock(workdir, work="imported into"):
            _require_free(workdir)
            # What a killed import left: whoever makes such a folder holds the lock.
            for left in Path(workdir).glob(".????????-import"):
                shutil.rmtree(left, ignore_errors=True)
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
