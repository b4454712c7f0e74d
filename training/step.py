"""One training step as a pure function of (state, batch, index, key, shares).

The step knows no devices: whoever compiles it (parallel/) says which examples of the global batch it is
given, how loss and gradient are averaged over all shares of the batch, and how shares are put together.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from data.transforms import Transform
from denoisers.network import Denoiser
from losses import Objective, weighted_by_uncertainty
from sde_lib import noise
from training import ema, frozen_network, levels


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """The step, with all that does not change during a run.

    Attributes:
      denoiser, objective, optimizer, transform: what is trained, on what, how.
      batch_size: examples in a batch over all devices.
      averages: the profiles of the averages, see training/ema.py.
      unroll: whether inner steps are unrolled: a loop around gradients of convolutions
        is many times slower on XLA's CPU backend, and smaller to compile elsewhere.
      accumulation: parts of the batch of which one is differentiated at a time, to save memory. Parameters
        come out the same to rounding.
    """

    denoiser: Denoiser
    objective: Objective
    optimizer: optax.GradientTransformation
    transform: Transform
    batch_size: int
    averages: dict
    unroll: bool
    accumulation: int = 1

    @classmethod
    def from_experiment(cls, experiment, batch_size, accumulation=1):
        """The step of an Experiment, for the devices at hand."""
        return cls(
            experiment.denoiser,
            experiment.objective,
            experiment.optimizer,
            experiment.transform,
            batch_size,
            experiment.averages,
            unroll=jax.default_backend() == "cpu",
            accumulation=accumulation,
        )

    def __call__(self, state, batches, index, key, shares):
        """Runs `one` for each leading entry of `batches` [n, b, ...], with the same further arguments.

        Returns:
          the new state, and metrics, each [n, ...].
        """

        def one(state, batch):
            return self.one(state, batch, index, key, shares)

        if not self.unroll:
            return jax.lax.scan(one, state, batches)
        rows = []
        for i in range(len(jax.tree.leaves(batches)[0])):
            state, metrics = one(state, jax.tree.map(lambda a, i=i: a[i], batches))
            rows.append(metrics)
        return state, jax.tree.map(lambda *values: jnp.stack(values), *rows)

    def one(self, state, batch, index, key, shares):
        """One optimizer step.

        Args:
          state: TrainState.
          batch: {"image": uint8 [b, H, W, C], "label": int32 [b] where there are labels}, a share of the
            global batch.
          index: [b] places of these examples in the global batch.
          key: of the run.
          shares: see parallel/shares.py.

        Returns:
          (TrainState, dict of metrics), equal for all shares: the loss [], the gradient's norm [], and of the
          losses by noise level [2, intervals], see training/levels.py.
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

        def mean_loss(params, examples):
            keys, x0, times, label, dropout_keys, augmentation = examples
            if self.objective.head_alone:
                # The head learns the errors of the network as it is sampled, without dropout.
                params, dropout_keys = frozen_network.without_gradient_elsewhere(params), None

            def denoise(x, t):
                return self.denoiser(params, x, t, label, dropout_keys, augmentation)

            losses = self.objective.example_losses(keys, denoise, x0, times.t)
            trained = losses
            if self.denoiser.uncertainty:
                trained = weighted_by_uncertainty(losses, self.denoiser.log_variance(params, times.t))
            return jnp.mean(times.weight * trained), losses

        value_and_gradient = shares.averaged(self._accumulated(jax.value_and_grad(mean_loss, has_aux=True)))
        examples = (noise_keys, x0, times, batch.get("label"), dropout_keys, augmentation)
        (loss, losses), gradient = value_and_gradient(state.params, examples)
        if history is not None:
            history = history.add(*shares.gather((times.interval, losses)))
        updates, opt_state = self.optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        if not self.objective.head_alone:
            params = self.denoiser.normalized(params)
        step = state.step + 1
        averages = ema.update(self.averages, state.ema, params, step)
        log_snr = self.objective.sde.log_snr(times.t)
        by_level = levels.totals(levels.edges(self.objective.sde), log_snr, losses)
        metrics = {
            "loss": loss,
            "gradient_norm": optax.tree.norm(gradient),
            "by_level": shares.total(by_level),
        }
        state = state.replace(
            step=step, params=params, opt_state=opt_state, ema=averages, loss_history=history
        )
        return state, metrics

    def _accumulated(self, value_and_gradient):
        """The function that takes the mean over `accumulation` equal parts of its examples.

        Args:
          value_and_gradient: (params, examples) -> ((loss [], losses [b]), gradient), with examples a tree of
            arrays [b, ...].

        Returns:
          a function of the same; losses in their order.
        """
        if self.accumulation == 1:
            return value_and_gradient

        def call(params, examples):
            parts = jax.tree.map(lambda a: a.reshape(self.accumulation, -1, *a.shape[1:]), examples)

            def add(total, part):
                (loss, losses), gradient = value_and_gradient(params, part)
                return jax.tree.map(jnp.add, total, (loss, gradient)), losses

            nothing = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
            total, losses = jax.lax.scan(add, nothing, parts, unroll=self.unroll)
            loss, gradient = jax.tree.map(lambda sums: sums / self.accumulation, total)
            return (loss, losses.reshape(-1)), gradient

        return call
