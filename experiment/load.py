"""From a workdir to the objects of its run: what the modes read, and the way to use a run from Python."""

import contextlib
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from components import ConfigError, closest
from configs import base, renamed
from experiment.create import OF_A_RUN, Experiment, create, read_files, refused_numbers, resolved
from experiment.draw import NumberedSamples
from likelihood import encoding
from likelihood.exact import bits_per_dim, log_likelihood
from parallel.batches import BatchMap, one_by_one
from sde_lib.noise import example_keys
from training import ema, frozen_network
from workdir import averages, storage
from workdir.checkpoints import Checkpoints
from workdir.files import checksum
from workdir.provenance import collect
from workdir.records import say
from workdir.saved_config import read_config


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A trained model, or a mixture with its exact denoiser, ready for use.

    Images are uint8 [N, H, W, C] with the values of the data; where the data has no pixels, floats [N, ...].

    Attributes:
      config: of the run, resolved.
      experiment: its objects.
      params: the averaged parameters.
      checkpoint: the record of the checkpoint: step, config, provenance.
      workdir: of the run; None where it has none.
    """

    config: ConfigDict
    experiment: Experiment
    params: Any
    checkpoint: dict
    workdir: Any = None

    @functools.cached_property
    def _denoise(self):
        return jax.jit(lambda params, x, t, label: self.experiment.denoiser.bind(params, label)(x, t))

    def denoise(self, x, t, label=None):
        """What the model knows of x_0: the Prediction at noisy data.

        Args:
          x: [B, ...] in the model's range, noisy as at t.
          t: [B] times in [t_min, t_max], or one for all; label: [B] classes, or None.

        Raises:
          ValueError: shapes that do not fit, or a time outside.
        """
        x, t, sde = jnp.asarray(x), jnp.asarray(t), self.experiment.sde
        self._require_shape("x", x)
        if t.shape not in ((), (len(x),)):
            raise ValueError(
                f"t has shape {t.shape}; it must be one time, or one for each of {len(x)} examples"
            )
        inside = (t >= jnp.asarray(sde.t_min, t.dtype)) & (t <= jnp.asarray(sde.t_max, t.dtype))
        if not isinstance(inside, jax.core.Tracer) and not inside.all():
            raise ValueError(f"t={t} must lie in [{sde.t_min:g}, {sde.t_max:g}]")
        return self._denoise(self.params, x, jnp.broadcast_to(t, (len(x),)), label)

    def sample(self, count, label=None, **fields):
        """Draws images.

        Args:
          count: how many; image k is the same one in any number of them.
          label: a class, or a sequence that is repeated; None draws by the frequencies in the data.
          **fields: of config.sampling; a group by its name or as a dict: steps=20, predictor="ddim",
            predictor={"name": "edm", "order": 1}.

        Raises:
          ConfigError: fields that do not go together.
          ValueError: a count below one.
        """
        if count < 1:
            raise ValueError(f"count={count} must be one or more")
        config = self.config.copy_and_resolve_references()
        for name, value in fields.items():
            if name not in config.sampling:
                group, dot, field = name.partition(".")
                hint = closest(name, config.sampling)
                if dot and group in config.sampling:
                    hint = f' A field of a group stands in a dict: {group}={{"{field}": ...}}.'
                raise ConfigError(
                    f"sampling.{name} is not a field.{hint} Known: {', '.join(config.sampling)}."
                )
            group = isinstance(config.sampling[name], ConfigDict)
            if group and not isinstance(value, dict):
                value = {"name": value}
            # None is of no field's type.
            with config.ignore_type() if value is None else contextlib.nullcontext():
                try:
                    config.sampling.update({name: value})
                except (TypeError, ValueError, KeyError, AttributeError):
                    known = f" Its fields: {', '.join(config.sampling[name])}." if group else ""
                    raise ConfigError(
                        f"sampling.{name}={value!r} is no value of this field, whose type configs/base.py "
                        f"has.{known}"
                    ) from None
        if label is not None:
            config.sampling.labels = tuple(np.atleast_1d(np.asarray(label)).tolist())
        refused = refused_numbers(config, ("sampling",))
        if refused:
            raise ConfigError("\n".join(refused))
        experiment = dataclasses.replace(self.experiment, files=read_files(config, ("sampling",)))
        samples = NumberedSamples(experiment, config.sampling, batch_size=self._batch_size(count))
        samples.say_bias()
        return samples.draw(self.params, count, convert=self._to_images)

    def log_likelihood(self, images, label=None):
        """[N] nats: the log-density by the probability-flow ODE, as `eval.bits_per_dim` sets it.

        Of pixels their log-probability, bounded from below with one draw of uniform dequantization.

        Raises:
          ValueError: images that are none of the model's.
        """
        settings, experiment = self.config.eval.bits_per_dim, self.experiment
        x = self._images(images)
        index = np.arange(len(x), dtype=np.uint32)
        if experiment.transform:
            keys = example_keys(experiment.key("dequantize"), jnp.asarray(index))
            x = np.asarray(experiment.transform.dequantized(keys, x))
        key = experiment.key("probe")

        def solve(params, index, x, label):
            return log_likelihood(
                example_keys(key, index),
                experiment.sde,
                experiment.denoise("likelihood", params, label),
                x,
                tolerance=settings.tolerance,
                probe=settings.probe,
                probes=settings.probes,
                solver=settings.solver,
            ).log_prob

        nats = self._by_example(solve, label, index, x)
        if experiment.transform is None:
            return nats
        transform, dimension = experiment.transform, x[0].size
        bits = bits_per_dim(nats, experiment.shape, transform.pixel_values, transform.centered)
        return -bits * dimension * np.log(2)

    def encode(self, images, label=None):
        """[N, ...] latent codes: where the probability-flow ODE takes the images, in the prior's range.

        Raises:
          ValueError: images that are none of the model's.
        """
        x = self._images(images)
        x = np.asarray(self.experiment.transform.to_model(x)) if self.experiment.transform else x
        return self._follow(encoding.encode, x, label)

    def decode(self, codes, label=None):
        """The images of latent codes [N, ...], the inverse of `encode`."""
        codes = np.asarray(codes)
        self._require_shape("codes", codes)
        return self._to_images(self._follow(encoding.decode, codes, label))

    def _require_shape(self, name, x):
        shape = self.experiment.shape
        if x.ndim != 1 + len(shape) or x.shape[1:] != shape or len(x) == 0:
            raise ValueError(
                f"{name} has shape {x.shape}; it must be [N, {', '.join(map(str, shape))}], N >= 1"
            )

    def _images(self, images):
        """The images as an array, once they are the model's."""
        x, transform = np.asarray(images), self.experiment.transform
        self._require_shape("images", x)
        if transform and not (x.dtype.kind in "ui" and x.min() >= 0 and x.max() < transform.pixel_values):
            raise ValueError(
                f"images are {x.dtype} in {x.min()}..{x.max()}; they must be whole pixel values in "
                f"0..{transform.pixel_values - 1}"
            )
        return x

    def _follow(self, direction, x, label):
        experiment, settings = self.experiment, self.config.encoding

        def follow(params, x, label):
            denoise = experiment.denoise("encoder", params, label)
            return direction(experiment.sde, denoise, x, settings.tolerance, settings.solver).x

        return self._by_example(follow, label, x)

    def _by_example(self, function, label, *arrays):
        """function(params, *arrays, label) of examples that are followed each by itself, over all devices."""
        examples = {"arrays": arrays}
        if label is not None:
            examples["label"] = np.broadcast_to(np.asarray(label, np.int32), len(arrays[0]))

        def mapped(params, examples):
            each = one_by_one(lambda *a: function(params, *a))
            return each(*examples["arrays"], examples.get("label"))

        return BatchMap(mapped, self._batch_size(len(arrays[0])))(self.params, examples)

    def _batch_size(self, count):
        """A batch for so many examples: a multiple of the devices, at most that of `sampling`."""
        devices = jax.local_device_count()
        return min(-(-count // devices) * devices, self.config.sampling.batch_size)

    def _to_images(self, x):
        return self.experiment.transform.to_pixels(x) if self.experiment.transform else x


def _refuse_network(config, workdir):
    """Refuses a mixture for a workdir in which a network was trained, whose results it would replace."""
    if workdir and (storage.path(workdir) / "checkpoints").is_dir():
        raise ConfigError(
            f'{workdir} holds a trained network, and mixture.name="{config.mixture.name}" would take its '
            "place. Leave mixture.name out, or choose another --workdir."
        )


def require_run(config, workdir, to_train=False, awaited=False):
    """Takes from the run's record what the config leaves to the data, and refuses a run of another config.

    Args:
      to_train: training goes on with it, or begins where there is none yet.
      awaited: a run that has no checkpoint yet is waited for.

    Returns:
      the record of the checkpoint; None where the data is a mixture, or there is none yet.

    Raises:
      UserError: no checkpoint, one of another config, or `restore.step` that is not there.
    """
    if config.mixture.name:
        _refuse_network(config, workdir)
        return None
    checkpoints = Checkpoints(workdir, resolved(config), read_only=True, to_train=to_train)
    try:
        if (to_train or awaited) and not checkpoints.all_steps():
            return None
        return checkpoints.resolve_data(config.data)
    finally:
        checkpoints.close()


def require_average(config, reads):
    """Raises ConfigError where `restore.file` is no average of this model; nothing where it is not set."""
    if config.restore.file is not None and not config.mixture.name:
        _of_file(config, create(config, reads).params_template())


def _of_file(config, template):
    """(averaged parameters, record) of `restore.file`."""
    file = config.restore.file
    found, record = averages.read(file, [averages.SINGLE], template, resolved(config), "restore.file")
    return found[averages.SINGLE], record


def _restored(config, experiment, checkpoints):
    """(averaged parameters, record) as the subtree `restore` chooses them.

    1. The average of the file `restore.file`, if it is set.
    2. Else that of the checkpoint `restore.step` (the newest) that `restore.average` names (the first).
    """
    template = experiment.params_template()
    if config.restore.file is not None:
        return _of_file(config, template)
    chosen = ema.chosen(experiment.averages, config.restore.average)
    return checkpoints.restore_ema(template, experiment.ema_names, chosen)


def load(workdir=None, config=None, reads=OF_A_RUN, field=None):
    """The Run of a workdir, with averaged parameters of its newest good checkpoint.

        >>> import experiment
        >>> from configs import gaussian_mixture
        >>> ring = experiment.load(config=gaussian_mixture.get_config("ring"))
        >>> ring.sample(16, steps=20).shape
        (16, 2)

    and of a trained network `experiment.load("runs/digits")`.

    What the data source alone knows (side, channels, pixel values) comes from the checkpoint, so that no data
    set is needed to sample. A mixture needs no checkpoint and no workdir: it is the parameters.
    `restore.step` and `restore.average` choose another checkpoint or average; `restore.file` is an average
    that --mode=ema wrote, in place of the checkpoint's.

    Args:
      workdir: folder of the run.
      config: in place of the run's own.
      reads: subtrees beside those that make the model; see experiment.create.
      field: the config field that names the workdir, where it is not --workdir; for messages.

    Raises:
      UserError: no checkpoint, or one of another config.
    """
    if config is None:
        config = read_config(workdir, base.get_config(), renamed.upgraded)
    if config.mixture.name:
        _refuse_network(config, workdir)
        created = create(config, reads)
        return Run(config, created, created.denoiser.init(), {"step": 0, "provenance": collect()})
    checkpoints = Checkpoints(workdir, resolved(config), read_only=True, field=field)
    try:
        checkpoints.resolve_data(config.data)
        created = create(config, reads)
        params, record = _restored(config, created, checkpoints)
    finally:
        checkpoints.close()
    return Run(config, created, params, record, workdir)


def warn_of_other_parameters(run):
    """Says where a measured file belongs to another model than that of the Run."""
    files, sampling = run.experiment.files, run.config.sampling
    # A head that is trained alone leaves the network below it as it was.
    known = {None, checksum(run.params), checksum(frozen_network.below(run.params))} if files else {None}
    for field, file in files.items():
        if file.origin.get("parameters") not in known:
            say(
                f"warning: {field}={file.path} was fitted to other parameters, of step "
                f"{file.origin.get('step')}; measure it anew for these"
            )
    grid = files.get("sampling.grid.file")
    if grid and sampling.grid.name == "optimal" and grid.origin["variance"] != sampling.variance.name:
        say(
            f"note: the levels of {grid.path} are the best for the variance {grid.origin['variance']}, and "
            f"sampling.variance.name={sampling.variance.name}"
        )
