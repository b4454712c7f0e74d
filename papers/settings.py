"""From a Cell to configs and commands: what is trained, and what is measured of it."""

import hashlib
import importlib
import json
import shlex

from configs import base
from overrides import apply

# Families that a training reads. All others are of the measurement.
TRAINED = ("sde", "model", "denoiser", "loss", "data", "optim", "training", "ema")
# Where samplers stop is no part of a training.
_MEASURED = ("sde.sampling_t_min",)


def of_training(overrides):
    """Those of the overrides that another training stands behind."""
    return {
        path: value
        for path, value in overrides.items()
        if path.split(".")[0] in TRAINED and path not in _MEASURED
    }


def of_measurement(overrides):
    """The rest of them: samplers, likelihoods."""
    training = of_training(overrides)
    return {path: value for path, value in overrides.items() if path not in training}


def is_of_a_head(cell):
    """Whether the cell's model is a head on another one's network."""
    return "training.network_from" in cell.overrides


def below_the_head(overrides):
    """The overrides of the network that lies below a head."""
    own = ("denoiser.variance_head", "loss.variance_weight", "training.network_from")
    return {path: value for path, value in of_training(overrides).items() if path not in own}


def _filled(value, places):
    """A value with {workdir} and {network} replaced, in texts and in dicts of them."""
    if isinstance(value, dict):
        return {name: _filled(part, places) for name, part in value.items()}
    if isinstance(value, str):
        for name, place in places.items():
            value = value.replace(f"{{{name}}}", str(place))
    return value


def overridden(config, overrides, **places):
    """A copy of the config with the overrides applied.

        >>> from configs import digits
        >>> changed = overridden(digits.get_config(), {"sampling.predictor": {"name": "ddim"}})
        >>> changed.sampling.predictor.name
        'ddim'

    Args:
      places: what stands for {workdir} and {network}.

    Raises:
      ConfigError: no such field, or a value of another type.
    """
    texts = [(f"config.{path}", str(_filled(value, places))) for path, value in overrides.items()]
    return apply(config.copy_and_resolve_references(), texts)


def experiment_file(name):
    """The module of an experiment of configs/, "vp/cifar10_ddpmpp_continuous"."""
    return importlib.import_module(f"configs.{name.replace('/', '.')}")


def training_overrides(cell):
    """What the training of a cell's model has beyond the experiment's file.

    Where that is another one than the file's, also the row's sampler, which the file's may not fit.
    """
    overrides = of_training(cell.overrides)
    if not overrides:
        return {}
    of_row = of_measurement({**cell.table.overrides, **cell.row.overrides})
    return overrides | {path: value for path, value in of_row.items() if "{workdir}" not in str(value)}


def published_config(cell):
    """The config of the experiment's file with what its training has beyond it; {network} stays as it is."""
    return overridden(experiment_file(cell.config).get_config(), training_overrides(cell))


def measured_config(trained, cell, sde=None, **places):
    """The config by which a cell is measured of a run.

    Samplers and likelihoods are those of the experiment's file and the cell, whatever the run has; what makes
    the model is the run's.

    Args:
      trained: ConfigDict of the run; sde: ConfigDict, in place of the run's.
      places: {workdir}: the folder with measured files.
    """
    config = trained.copy_and_resolve_references()
    of_file = experiment_file(cell.config).get_config()
    for family in ("sampling", "eval", "variance", "optimal_grid"):
        config[family] = of_file[family].copy_and_resolve_references()
    config.eval.max_images = base.get_config().eval.max_images
    # A table has what a setting gives, be it biased.
    config.sampling.largest_bias = None
    if sde is not None:
        config.sde = sde.copy_and_resolve_references()
    return overridden(config, of_measurement(cell.overrides), **places)


def as_flags(overrides, **places):
    """The overrides as main.py takes them.

    >>> as_flags({"sampling.predictor": {"name": "ddim", "eta": 0.2}, "sampling.steps": 9})
    ["--config.sampling.predictor={'name': 'ddim', 'eta': 0.2}", '--config.sampling.steps=9']
    """
    return [f"--config.{path}={_filled(value, places)}" for path, value in overrides.items()]


def digest(content):
    """A few characters that stand for JSON-able content."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def slug(config, overrides):
    """The folder's name of a training: the experiment's, and a digest of what differs from it."""
    name = config.replace("/", "_")
    return f"{name}-{digest(overrides)[:6]}" if overrides else name


def training_commands(cell, runs):
    """The command lines that train what a cell measures, the network below a head first."""
    overrides, lines = training_overrides(cell), []

    def train(overrides, **places):
        workdir = f"{runs}/{slug(cell.config, of_training(overrides))}"
        words = [f"--config=configs/{cell.config}.py", f"--workdir={workdir}", "--mode=train"]
        lines.append(shlex.join(["python", "main.py", *words, *as_flags(overrides, **places)]))
        return workdir

    if is_of_a_head(cell):
        network = train(below_the_head(overrides))
        train(overrides, network=network)
    else:
        train(overrides)
    return lines
