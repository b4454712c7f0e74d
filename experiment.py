"""Config to objects: everything that one experiment is made of."""

import dataclasses

import jax
import optax

import creation
import data
import losses
import models
import models.denoiser
import sde_lib
from data.transforms import Transform
from losses import Objective
from models.denoiser import Denoiser
from sde_lib.base import SDE
from training import optimizers, state


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The objects that a resolved config describes.

    Attributes:
      sde, denoiser, objective, optimizer, transform: see their modules.
      shape: [H, W, C] of one image.
      ema_names: the averages that are kept, the evaluated one first.
      seed: root of every random draw.
    """

    sde: SDE
    denoiser: Denoiser
    objective: Objective
    optimizer: optax.GradientTransformation
    transform: Transform
    shape: tuple[int, int, int]
    ema_names: tuple[str, ...]
    seed: int

    def key(self, purpose):
        """The root key of one purpose ("train", "sample", ...); equal for equal seeds."""
        return jax.random.fold_in(jax.random.key(self.seed), sum(map(ord, purpose)))

    def create_state(self):
        """The TrainState at step 0."""
        params = self.denoiser.init(self.key("init"), self.shape)
        return state.create(params, self.optimizer, self.ema_names)

    def state_template(self):
        """The TrainState's shapes and dtypes."""
        return jax.eval_shape(self.create_state)


def resolve(config):
    """Writes the defaults of the chosen SDE and network into a valid config."""
    creation.resolve(sde_lib.SDES, config.sde)
    creation.resolve(models.MODELS, config.model)


def create(config):
    """The experiment of a config whose `data` subtree is resolved.

    Raises:
      ConfigError: from whichever family refuses its subtree.
    """
    sde = sde_lib.create(config.sde)
    network = models.create(config.model, config.data.channels)
    return Experiment(
        sde=sde,
        denoiser=models.denoiser.create(config.denoiser, network, sde),
        objective=losses.create(config.loss, sde),
        optimizer=optimizers.create(config.optim, config.training.steps),
        transform=data.transform(config.data),
        shape=(config.data.image_size, config.data.image_size, config.data.channels),
        ema_names=state.ema_names(config.ema),
        seed=config.seed,
    )
