"""--mode=export: the weights of a run in files that other programs read, and --mode=import reads back.

`export.format=safetensors` writes the folder export/: parameters.safetensors and averages.safetensors, with
"/" between the names of modules, and config.json, the whole config with step, provenance and the identity of
the data. `export.format=diffusers` writes the folder diffusers/ with one average, as diffusers'
UNet2DModel and, where it knows the process, its DDPMScheduler have it.
"""

from components import ConfigError, choose
from configs import base
from experiment.create import resolved
from experiment.load import load
from importers import checkpoint, diffusers, diffusers_scheduler, mapping, safetensors
from modes import MODES
from workdir.checkpoints import Checkpoints
from workdir.files import write_json
from workdir.records import say
from workdir.results import Results

FORMATS = {"safetensors": "export", "diffusers": "diffusers"}
SUFFIXES = (".safetensors", ".json")


def refusals(config):
    """Lines about the subtree `export`."""
    choose(FORMATS, config.export.format, "export.format")
    if config.mixture.name:
        yield f'mixture.name="{config.mixture.name}" has no parameters to export.'
    if config.export.format == "safetensors":
        for field in ("average", "file"):
            if config.restore[field] is not None:
                yield (
                    f"restore.{field}={config.restore[field]} chooses one average, and "
                    "export.format=safetensors writes all of a checkpoint. Leave it out."
                )


def run(config, workdir, output=None):
    """--mode=export: writes the folder export/ or diffusers/.

    Args:
      output: folder in which it is made; default the workdir.

    Raises:
      UserError: no run, or a network that the format cannot hold.
    """
    loaded = load(workdir, config, MODES["export"].reads)
    write = _write_own if config.export.format == "safetensors" else _write_diffusers
    arguments = _own(loaded, workdir) if config.export.format == "safetensors" else _of_diffusers(loaded)
    results = Results(workdir, output)
    results.write_folder(FORMATS[config.export.format], SUFFIXES, write, *arguments)
    results.say_written()


def _own(loaded, workdir):
    """(parameters, averages, what config.json holds)."""
    config, created = loaded.config, loaded.experiment
    checkpoints = Checkpoints(workdir, resolved(config), read_only=True)
    try:
        params, averages, record = checkpoints.restore_weights(created.params_template(), created.ema_names)
    finally:
        checkpoints.close()
    # What this command chose is none of the run's.
    config, defaults = config.copy_and_resolve_references(), base.get_config()
    config.update({"restore": defaults.restore, "export": defaults.export})
    kept = {name: record[name] for name in ("step", "provenance", "data", "imported") if name in record}
    return params, averages, {"config": config.to_dict(), **kept}


def _write_own(folder, params, averages, described):
    step = {"step": str(described["step"])}
    flat = {
        f"{name}/{path}": leaf
        for name, tree in averages.items()
        for path, leaf in mapping.flatten(tree).items()
    }
    safetensors.write(folder / checkpoint.PARAMETERS, mapping.flatten(params), step)
    safetensors.write(folder / checkpoint.AVERAGES, flat, step)
    write_json(folder / checkpoint.CONFIG, described)


def _of_diffusers(loaded):
    """(arrays, config.json, scheduler_config.json or None)."""
    created = loaded.experiment
    network, (side, _, channels) = created.denoiser.network, created.shape
    try:
        described = diffusers.config_of(network, side, channels)
        rows = diffusers.rows(network, created.params_template(), side)
    except ValueError as error:
        raise ConfigError(f"export.format=diffusers: {error}. Use export.format=safetensors.") from None
    scheduler, unsaid = diffusers_scheduler.scheduler_of(loaded.config, created.denoiser)
    for line in unsaid:
        say(f"note: {line}")
    return mapping.export(loaded.params, rows), described, scheduler


def _write_diffusers(folder, arrays, described, scheduler):
    safetensors.write(folder / checkpoint.DIFFUSERS_WEIGHTS[0], arrays, {"format": "pt"})
    write_json(folder / checkpoint.CONFIG, described)
    if scheduler is not None:
        write_json(folder / checkpoint.SCHEDULER, scheduler)
