"""Config to objects: everything that one experiment is made of."""

import dataclasses

import jax
import optax

import components
import data
import denoisers
import losses
import models
import samplers
import sde_lib
from components import ConfigError
from data.transforms import Transform
from denoisers.gaussian_mixture import ExactDenoiser, GaussianMixture
from denoisers.mixtures import MIXTURES
from denoisers.network import Denoiser
from likelihood.bounds import PixelDecoder
from losses import Objective
from sde_lib import noise
from sde_lib.base import SDE
from training import frozen_network, optimizers, state


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The objects that a resolved config describes.

    Attributes:
      sde, denoiser, objective, optimizer: see their modules.
      transform: scaling of the pixels; None for a mixture that is not of images.
      shape: of one data point; [H, W, C] for images.
      mixture: the data where its denoiser is exact, else None.
      class_frequencies: of the labels of the training data, or None where it has none.
      ema_names: the averages that are kept, the evaluated one first.
      seed: root of every random draw.
    """

    sde: SDE
    denoiser: Denoiser | ExactDenoiser
    objective: Objective
    optimizer: optax.GradientTransformation
    transform: Transform | None
    shape: tuple[int, ...]
    mixture: GaussianMixture | None
    class_frequencies: tuple[float, ...] | None
    ema_names: tuple[str, ...]
    seed: int

    def key(self, purpose):
        """The root key of one purpose ("train", "sample", ...); equal for equal seeds."""
        return noise.purpose_key(noise.root_key(self.seed), purpose)

    def create_state(self):
        """The TrainState at step 0."""
        params = self.denoiser.init(self.key("init"), self.shape, self.class_frequencies is not None)
        return state.create(params, self.optimizer, self.ema_names, self.objective.history())

    def state_template(self):
        """The TrainState's shapes and dtypes."""
        return jax.eval_shape(self.create_state)


def data_range(setup):
    """(low, high) of the data in an Experiment, or None where it has no pixels."""
    return setup.transform.range if setup.transform else None


def resolve(config):
    """Writes the defaults of the chosen SDE, sampler and network into a valid config."""
    components.resolve(sde_lib.SDES, config.sde)
    samplers.resolve(config.sampling)
    components.resolve(models.MODELS, config.model)
    components.resolve(MIXTURES, config.mixture)


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


def create(config):
    """The experiment of a config whose `data` subtree is resolved.

    Raises:
      ConfigError: from whichever family refuses its subtree.
    """
    noise.use_partitionable_threefry()
    sde = sde_lib.create(config.sde)
    case, mixture = mixture_case(config.mixture), None
    if case:
        mixture = case.build()
        denoiser, shape = ExactDenoiser(sde, mixture), mixture.shape
        transform = Transform(case.levels) if case.levels else None
        decoder = None
    else:
        network = models.create(config.model, config.data.channels)
        denoiser = denoisers.create(config.denoiser, network, sde)
        transform = data.transform(config.data)
        shape = (config.data.image_size, config.data.image_size, config.data.channels)
        decoder = PixelDecoder(transform.levels, transform.centered)
    head_alone = config.training.network_from is not None
    optimizer = optimizers.create(config.optim, config.training.steps)
    return Experiment(
        sde=sde,
        denoiser=denoiser,
        objective=losses.create(config.loss, sde, config.denoiser, decoder, head_alone),
        optimizer=frozen_network.optimizer(optimizer) if head_alone else optimizer,
        transform=transform,
        shape=shape,
        mixture=mixture,
        class_frequencies=None if case else config.data.class_frequencies,
        ema_names=state.ema_names(config.ema),
        seed=config.seed,
    )
