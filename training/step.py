"""One training step as a pure function of (state, batch, index, key, average, gather).

The step knows no devices: whoever compiles it (parallel/) says which examples of the global batch it is
given, how a value is averaged over all shares of the batch, and how shares are put together.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from data.transforms import Transform
from denoisers.network import Denoiser
from losses import Objective
from sde_lib import noise
from training import frozen_network
from training.state import update_ema


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """The step, with all that does not change during a run.

    Attributes:
      denoiser, objective, optimizer, transform: what is trained, on what, how.
      batch_size: examples in a batch over all devices.
      ema_ramp: see `update_ema`.
      unroll: whether inner steps are unrolled: a loop around gradients of convolutions
        is many times slower on XLA's CPU backend, and smaller to compile elsewhere.
    """

    denoiser: Denoiser
    objective: Objective
    optimizer: optax.GradientTransformation
    transform: Transform
    batch_size: int
    ema_ramp: bool
    unroll: bool

    @classmethod
    def from_experiment(cls, experiment, batch_size, ema_ramp):
        """The step of an Experiment, for the devices at hand."""
        return cls(
            experiment.denoiser,
            experiment.objective,
            experiment.optimizer,
            experiment.transform,
            batch_size,
            ema_ramp,
            unroll=jax.default_backend() == "cpu",
        )

    def __call__(self, state, batches, index, key, average, gather):
        """Runs `one` for each leading entry of `batches` [n, b, ...], with the same further arguments.

        Returns:
          the new state, and metrics, each [n].
        """

        def one(state, batch):
            return self.one(state, batch, index, key, average, gather)

        if not self.unroll:
            return jax.lax.scan(one, state, batches)
        rows = []
        for i in range(len(jax.tree.leaves(batches)[0])):
            state, metrics = one(state, jax.tree.map(lambda a, i=i: a[i], batches))
            rows.append(metrics)
        return state, jax.tree.map(lambda *values: jnp.stack(values), *rows)

    def one(self, state, batch, index, key, average, gather):
        """One optimizer step.

        Args:
          state: TrainState.
          batch: {"image": uint8 [b, H, W, C], "label": int32 [b] where there are labels}, a share of the
            global batch.
          index: [b] places of these examples in the global batch.
          key: of the run.
          average: tree -> tree, the mean over all shares of the batch; the identity where there is one.
          gather: tree of [b] -> tree of [batch_size], all shares one after the other.

        Returns:
          (TrainState, dict of metrics []), equal for all shares.
        """
        # The draws of an example depend on the step and its place in the global batch alone, so that a run
        # is the same on any number of devices.
        key = jax.random.fold_in(key, state.step)
        data_keys, time_keys, noise_keys, dropout_keys = noise.split(noise.example_keys(key, index), 4)
        # Index batch_size is one past the last example, so this key is used by none of them.
        shared_key = jax.random.fold_in(key, self.batch_size)

        x0 = self.transform.training(data_keys, batch["image"])
        x0, augmentation = self.transform.augmented(data_keys, x0)
        history = state.loss_history
        times = self.objective.times(time_keys, shared_key, index, self.batch_size, history)

        def mean_loss(params):
            keys = dropout_keys
            if self.objective.head_alone:
                # The head learns the errors of the network as it is sampled, without dropout.
                params, keys = frozen_network.without_gradient_elsewhere(params), None

            def denoise(x, t):
                return self.denoiser(params, x, t, batch.get("label"), keys, augmentation)

            losses = self.objective.example_losses(noise_keys, denoise, x0, times.t)
            return jnp.mean(times.weight * losses), losses

        (loss, losses), gradient = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        loss, gradient = average((loss, gradient))
        if history is not None:
            history = history.add(*gather((times.interval, losses)))
        updates, opt_state = self.optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        step = state.step + 1
        ema = update_ema(state.ema, params, step, self.ema_ramp)
        metrics = {"loss": loss, "gradient_norm": optax.tree.norm(gradient)}
        state = state.replace(step=step, params=params, opt_state=opt_state, ema=ema, loss_history=history)
        return state, metrics
