"""Config to objects: everything that one experiment is made of.

Validation is creation that collects: every family refuses its own subtree when it is created,
experiment/checks.py refuses what concerns several families, and all refusals are told at once. What a mode
does not read does not stop it: `reads` names the subtrees beside those that make the model.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import optax

import components
import data
import denoisers
import losses
import models
import samplers
import sde_lib
from components import ConfigError, Contents, Refusals
from configs import schema
from data.transforms import Transform
from denoisers import chain
from denoisers.gaussian_mixture import ExactDenoiser, GaussianMixture
from denoisers.mixtures import MIXTURES
from denoisers.network import Denoiser
from denoisers.thresholds import THRESHOLDS
from denoisers.variance import CHOICES
from experiment import checks, sizes
from likelihood.bounds import PixelDecoder
from losses import Objective
from samplers.correctors import CORRECTORS
from samplers.time_grids import TIME_GRIDS
from sde_lib import noise
from sde_lib.base import SDE
from sde_lib.numerics import fix_numerics
from training import ema, frozen_network, optimizers, state
from workdir import files

# What reads a run: samples are drawn and measured.
OF_A_RUN = ("restore", "sampling", "eval.bound", "eval")
# What draws samples reads one of these; a table that is only printed may have any bias.
DRAWS = {"restore", "training"}
# Where a name chooses a class: the subtree, and the table of its family.
FAMILIES = {
    "sde": sde_lib.SDES,
    "mixture": MIXTURES,
    "model": models.MODELS,
    "loss.weighting": losses.WEIGHTINGS,
    "loss.time_sampling": losses.TIME_SAMPLINGS,
    "sampling.predictor": samplers.SOLVERS,
    "sampling.grid": TIME_GRIDS,
    "sampling.corrector": CORRECTORS,
    "sampling.threshold": THRESHOLDS,
    "sampling.variance": CHOICES,
    "eval.bound.variance": CHOICES,
}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The objects that a resolved config describes.

    Attributes:
      sde, denoiser: see their modules.
      objective, optimizer: of the training; None where the experiment was made to read a run.
      transform: scaling of the pixels; None for a mixture that is not of images.
      shape: of one data point; [H, W, C] for images.
      mixture: the data where its denoiser is exact, else None.
      data_std: standard deviation of the data, as the config has it or the mixture's own.
      class_frequencies: of the labels of the training data; None where it has none or the model reads none.
      averages: training.ema profiles by name of the averages that are kept, the evaluated one first.
      seed: root of every random draw.
      files: Contents by config field: what the config's files hold.
    """

    sde: SDE
    denoiser: Denoiser | ExactDenoiser
    objective: Objective | None
    optimizer: optax.GradientTransformation | None
    transform: Transform | None
    shape: tuple[int, ...]
    mixture: GaussianMixture | None
    data_std: float
    class_frequencies: tuple[float, ...] | None
    averages: dict[str, Any]
    seed: int
    files: dict[str, Contents]

    def key(self, purpose):
        """The root key of one purpose ("train", "sample", ...); equal for equal seeds."""
        return noise.purpose_key(noise.root_key(self.seed), purpose)

    @property
    def ema_names(self):
        """Names of the averages, the evaluated one first."""
        return tuple(self.averages)

    @property
    def data_range(self):
        """(low, high) of the data, or None where it has no pixels."""
        return self.transform.range if self.transform else None

    def denoise(self, reader, params, label=None):
        """(x, t) -> Prediction with these parameters, as a reader of denoisers/chain.py takes the model.

        Args:
          reader: key of denoisers.chain.READERS that takes no link of its own.
          params: of the denoiser; label: [B] classes, or None.
        """
        return chain.wrap(chain.create(reader), self.denoiser.bind(params, label))

    def create_params(self):
        """The parameters at step 0."""
        return self.denoiser.init(self.key("init"), self.shape, self.class_frequencies is not None)

    def params_template(self):
        """The parameters' shapes and dtypes."""
        return self.denoiser.shapes(self.shape, self.class_frequencies is not None)

    def create_state(self):
        """The TrainState at step 0."""
        return state.create(self.create_params(), self.optimizer, self.ema_names, self.objective.history())

    def state_template(self):
        """The TrainState's shapes and dtypes."""
        # The network is traced once for all templates.
        rest = self.optimizer, self.ema_names, self.objective.history()
        return jax.eval_shape(lambda params: state.create(params, *rest), self.params_template())


def subtree(config, path):
    """The part of a config that stands at a dotted path."""
    for name in path.split("."):
        config = config[name]
    return config


def is_read(path, reads):
    """Whether the subtree at `path` belongs to what is read."""
    return any(path == name or path.startswith(f"{name}.") for name in reads)


def resolved(config):
    """A copy of a valid config in which the fields left to the chosen classes have their defaults.

    This is what is recorded and compared; the config itself stays as it was given, so that a run's own
    config with another class chosen has none of the first one's fields.
    """
    config = config.copy_and_resolve_references()
    samplers.resolve(config.sampling, data_shape(config), sde_lib.create(config.sde))
    for path, table in FAMILIES.items():
        components.resolve(table, subtree(config, path))
    return config


def data_range(config):
    """(low, high) of the data of a config that is not refused, or None where it has no pixels."""
    return checks.data_range(config, mixture_case(config.mixture))


@functools.cache
def _built(case, precision):
    return case.build()


def build(case):
    """The GaussianMixture of a ready-made mixture; some take seconds, so that each is built once."""
    return _built(case, jax.numpy.result_type(float))


def data_std(config):
    """Standard deviation of the data: the mixture's own, or denoiser.sigma_data; None where that is refused.

    Raises:
      ConfigError: a mixture that cannot be.
    """
    case = mixture_case(config.mixture)
    if case:
        return build(case).std
    return config.denoiser.sigma_data if 0 < config.denoiser.sigma_data < math.inf else None


def data_shape(config):
    """Shape of one data point, or None where it is not known yet."""
    case = mixture_case(config.mixture)
    if case:
        return case.shape
    if config.data.image_size is None:
        return None
    return (config.data.image_size, config.data.image_size, config.data.channels or 1)


def default_of(config, field):
    """The chosen class's own default of a config field, or None where no class has it.

    Args:
      config: the subtree in which the field stands; field: its whole path.
    """
    path, _, name = field.rpartition(".")
    table = FAMILIES.get(path)
    if table is None or config.name not in table:
        return None
    defaults = {f.name: f.default for f in dataclasses.fields(table[config.name]) if f.init}
    found = defaults.get(name)
    return None if found is dataclasses.MISSING else found


def mixture_case(config):
    """The ready-made mixture that the subtree `mixture` describes, or None; not yet built.

    Raises:
      ConfigError: unknown name, fields that it does not have, or fields without a name.
    """
    if config.name is None:
        given = [field for field, value in config.items() if value is not None]
        if given:
            raise ConfigError(f"mixture.{given[0]} is set, but mixture.name is not: {', '.join(MIXTURES)}.")
        return None
    return components.create(MIXTURES, config, "mixture")


def read_files(config, reads):
    """Contents by config field of the files that the chosen classes of the subtrees in `reads` name.

    Raises:
      ConfigError: a file that is missing, damaged, or of another kind.
    """
    contents, refusals = {}, Refusals()
    for path, table in FAMILIES.items():
        if is_read(path, reads):
            for field, name, kind in components.file_fields(table, subtree(config, path), path):
                with refusals:
                    contents[field] = files.read_measured(name, kind, field)
    refusals.raise_if_any()
    return contents


@dataclasses.dataclass
class _Parts:
    """What can be created before the data is known, as far as it was not refused."""

    sde: Any = None
    case: Any = None
    denoiser: Any = None
    objective: Any = None
    optimizer: Any = None
    averages: dict = dataclasses.field(default_factory=dict)
    files: Any = None


def _create_parts(config, reads, refusals):
    parts, of_mixture = _Parts(), config.mixture.name is not None
    with refusals:
        parts.sde = sde_lib.create(config.sde)
    with refusals:
        parts.case = mixture_case(config.mixture)
    if not of_mixture:
        refusals.add(data.refusals(config.data))
        with refusals:
            parts.averages = ema.create(config.ema, config.training.batch_size)
        if parts.sde:
            with refusals:
                network = models.create(config.model, config.data.channels or 1, config.data.classes or 0)
                parts.denoiser = denoisers.create(config.denoiser, network, parts.sde)
                refusals.add(checks.network_refusals(config, network, parts.sde))
                known = config.data.image_size and config.data.channels
                if not refusals.lines and known and _is_done_here(config, reads):
                    # The same as of the experiment, whose parameters are then traced already.
                    labelled = parts.denoiser.takes_labels and config.data.class_frequencies is not None
                    shape, trained, averages = data_shape(config), "training" in reads, len(parts.averages)
                    refusals.add(sizes.of_network(config, parts.denoiser, shape, labelled, trained, averages))
    with refusals:
        parts.files = read_files(config, reads)
    data_range = checks.data_range(config, parts.case)
    if "sampling" in reads and parts.sde and parts.files is not None:
        asked = bool(DRAWS & set(reads)) and not (of_mixture and parts.case is None)
        std = data_std(config) if asked else None
        with refusals:
            samplers.create(config.sampling, parts.sde, data_range, parts.files, std, data_shape(config))
    if is_read("eval.bound", reads) and parts.files is not None:
        with refusals:
            path = "eval.bound.variance"
            components.create(CHOICES, config.eval.bound.variance, path, parts.files)
    if "training" in reads and parts.sde:
        head_alone = config.training.network_from is not None
        decoder = None
        if config.data.pixel_values and not of_mixture:
            decoder = PixelDecoder(config.data.pixel_values, config.data.centered)
        with refusals:
            parts.objective = losses.create(config.loss, parts.sde, config.denoiser, decoder, head_alone)
        with refusals:
            optimizer = optimizers.create(config.optim, config.training.steps)
            parts.optimizer = frozen_network.optimizer(optimizer) if head_alone else optimizer
    takes_labels = parts.denoiser.takes_labels if parts.denoiser else not of_mixture
    refusals.add(checks.across_families(config, reads, parts.sde, parts.case, takes_labels))
    return parts


def refused_numbers(config, reads=OF_A_RUN):
    """Lines about values that are none of their fields', and about sizes that no memory holds.

    Where there is such a line nothing else may be done with the config, not even further checks.
    """
    return (
        [*schema.mismatches(config)]
        or [*(_too_large(config, reads) if _is_done_here(config, reads) else ())]
        or [*schema.no_numbers(config, lambda path: _takes_infinity(config, path))]
    )


def _is_done_here(config, reads):
    """Whether the memory at hand has to hold it: a plan for other devices allocates nothing."""
    return "plan" not in reads or config.plan.topology == "local"


def _too_large(config, reads):
    try:
        case = mixture_case(config.mixture)
    except ConfigError:  # told with all else that is wrong
        return
    yield from sizes.refusals(config, reads, case, data_shape(config))


def _takes_infinity(config, field):
    """Whether infinity is the chosen class's own default of a field."""
    return default_of(subtree(config, field.rpartition(".")[0]), field) == math.inf


def problems(config, reads=OF_A_RUN):
    """All that is wrong with the parts of a config that make the model and with those in `reads`.

    Nothing is compiled and no data is read. Called again once the data is known, it also checks what depends
    on the images' side and pixels.

    Returns:
      lines, each naming a field; empty if the experiment can be created.
    """
    refusals = Refusals()
    refusals.add(refused_numbers(config, reads))
    if not refusals.lines:
        _create_parts(config, reads, refusals)
    return refusals.lines


def create(config, reads=OF_A_RUN):
    """The experiment of a config whose `data` subtree is resolved.

        >>> import experiment
        >>> from configs import gaussian_mixture
        >>> ring = experiment.create(gaussian_mixture.get_config("ring"))
        >>> ring.mixture.shape
        (2,)

    Args:
      reads: subtrees beside those that make the model; with "training" also loss and optimizer are made.

    Raises:
      ConfigError: one line for each refusal.
    """
    fix_numerics()
    refusals = Refusals()
    refusals.add(refused_numbers(config, reads))
    refusals.raise_if_any()
    parts = _create_parts(config, reads, refusals)
    refusals.raise_if_any()
    if parts.case:
        mixture = build(parts.case)
        denoiser, shape = ExactDenoiser(parts.sde, mixture), mixture.shape
        transform = Transform(parts.case.pixel_values) if parts.case.pixel_values else None
    else:
        mixture, denoiser, transform = None, parts.denoiser, data.transform(config.data)
        shape = (config.data.image_size, config.data.image_size, config.data.channels)
    return Experiment(
        sde=parts.sde,
        denoiser=denoiser,
        objective=parts.objective,
        optimizer=parts.optimizer,
        transform=transform,
        shape=shape,
        mixture=mixture,
        data_std=data_std(config),
        class_frequencies=config.data.class_frequencies if denoiser.takes_labels else None,
        averages=parts.averages,
        seed=config.seed,
        files=parts.files,
    )
