"""How well variance heads learn the moments that a mixture knows exactly.

    python -m bench.variance_heads

On exact and on perturbed means every head of denoisers/heads.py is trained alone, by the losses of
losses.py, and its E[eps^2 | x_t] - eps_hat^2 (second_moment), E[(eps - eps_hat)^2 | x_t] (residual) and
diag(alpha dD/dx) (covariance) compared with the exact ones, which all are the unexplained fraction of
denoisers/variance.py where the mean is exact. Writes docs/variance_heads.md and docs/variance_heads.png.
"""

import argparse
import dataclasses
import time
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from denoisers.mixtures import Ring
from denoisers.network import Denoiser
from denoisers.variance import Jacobian
from losses import Objective
from reports.pictures import pyplot
from sde_lib.base import SDE
from sde_lib.cosine import Cosine
from sde_lib.noise import root_key

HEADS = ("second_moment", "residual", "covariance")
LEVELS = (-4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
SIZE, WIDTH = 2048, 128


class HeadOnExactMean(nn.Module):
    """A small network for the head beside an exact mean, in eps.

    Attributes:
      mixture, sde: the data and its process.
      perturbation: size of a wave added to the noise that the mean predicts.
    """

    mixture: Any
    sde: SDE
    perturbation: float = 0.0

    def eps(self, x, t):
        """The mean's prediction."""
        wave = jnp.sin(3 * x[:, ::-1]) if self.perturbation else 0.0
        return self.mixture.denoise(self.sde, x, t).eps + self.perturbation * wave

    @nn.compact
    def __call__(self, x, noise, label=None, dropout_keys=None):
        """State x [B, 2], noise [B] log_sigma -> [B, 4]: eps and the head's raw output."""
        t = self.sde.time_of_log_snr(-8 * noise)
        eps = self.eps(x, t)
        alpha, sigma = self.sde.alpha(t)[:, None], self.sde.sigma(t)[:, None]
        phase = 4 * noise[:, None] * jnp.array([0.5, 1.0, 2.0])
        features = [x, eps, (x - sigma * eps) / alpha, jnp.sin(phase), jnp.cos(phase), noise[:, None]]
        h = jax.lax.stop_gradient(jnp.concatenate(features, axis=1))
        for _ in range(3):
            h = nn.silu(nn.Dense(WIDTH)(h))
        return jnp.concatenate([eps, nn.Dense(x.shape[1], kernel_init=nn.initializers.zeros)(h)], axis=1)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A head after training.

    Attributes:
      steps, errors: [M] steps at which the relative L2 error was measured, and it.
      by_level: [len(LEVELS)] the error at the end at each log-SNR.
      implied: [len(LEVELS)] at the end, the error of the head's unexplained fraction against
        E[(eps - eps_hat)^2 | x_t].
    """

    steps: list
    errors: list
    by_level: np.ndarray
    implied: np.ndarray


def _states(sde, mixture, level, count, seed):
    x0 = mixture.sample(root_key(seed), count)
    t = sde.time_of_log_snr(jnp.full(count, level))
    mean, std = sde.marginal(x0, t)
    return mean + std * jax.random.normal(root_key(seed + 1), x0.shape), t


def relative_error(found, exact):
    """Relative L2 error over states and dimensions."""
    return jnp.sqrt(jnp.mean((found - exact) ** 2) / jnp.mean(exact**2))


def train(head, steps, perturbation=0.0, relative=True, every=300, learning_rate=3e-3):
    """Trains one head and measures it on fresh states at LEVELS.

    The exact moment is that of the mean at hand: E[(eps - eps_hat)^2 | x_t] for an imperfect one is the
    variance plus its squared error. A second moment has the square of eps_hat added on both sides.

    Returns:
      Trained.
    """
    mixture, sde = Ring(components=4, spread=0.3).build(), Cosine()
    network = HeadOnExactMean(mixture, sde, perturbation)
    denoiser = Denoiser(network, sde, "eps", "log_sigma", 0.7, head)
    objective = Objective(
        sde,
        variance_head=head,
        variance_weight=1.0,
        variance_relative=relative,
        head_alone=True,
        sigma_data=0.7,
    )
    schedule = optax.cosine_decay_schedule(learning_rate, steps)
    optimizer = optax.adam(schedule)
    params = network.init(root_key(0), jnp.zeros((1, 2)), jnp.zeros(1))["params"]

    @jax.jit
    def step(params, state, number):
        key = jax.random.fold_in(root_key(7), number)
        data_key, time_key, noise_key = jax.random.split(key, 3)
        x0 = mixture.sample(data_key, SIZE)
        times = objective.times(jax.random.split(time_key, SIZE), time_key, jnp.arange(SIZE), SIZE)

        def loss(params):
            keys = jax.random.split(noise_key, SIZE)
            return objective.example_losses(keys, denoiser.bind(params), x0, times.t).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    @jax.jit
    def errors(params):
        found = []
        for level in LEVELS:
            x, t = _states(sde, mixture, level, 4096, 100)
            prediction, exact = denoiser(params, x, t), mixture.denoise(sde, x, t)
            ratio = (prediction.sigma / prediction.alpha) ** 2
            jacobian = Jacobian(probes=0)(denoiser.bind(params))
            own, variance = prediction.x0_variance / ratio, exact.x0_variance / ratio
            mistake = (prediction.eps - exact.eps) ** 2
            learned, aim = {
                "second_moment": (own + prediction.eps**2, variance + exact.eps**2),
                "residual": (own, variance + mistake),
                # Of the denoiser at hand, by its derivative.
                "covariance": (own, jacobian(x, t).x0_variance / ratio),
            }[head]
            implied = relative_error(own, variance + mistake)
            found.append((relative_error(learned, aim), implied))
        return jnp.array(found)

    state, rows = optimizer.init(params), []
    for number in range(steps):
        params, state = step(params, state, number)
        if (number + 1) % every == 0 or number + 1 == steps:
            rows.append((number + 1, np.asarray(errors(params))))
    last = rows[-1][1]
    return Trained([n for n, _ in rows], [float(e[:, 0].mean()) for _, e in rows], last[:, 0], last[:, 1])


def main():
    """Trains all of them, and writes the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--out", default="docs")
    arguments = parser.parse_args()
    plt = pyplot()
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
    lines = []
    runs = [(head, True) for head in HEADS] + [("residual", False), ("covariance", False)]
    for axis, perturbation in zip(axes, (0.0, 0.2), strict=True):
        for head, relative in runs:
            started = time.monotonic()
            found = train(head, arguments.steps, perturbation, relative)
            label = head if relative else f"{head}, published loss"
            axis.plot(found.steps, found.errors, ".-", label=label)
            moments, implied = (
                " | ".join(f"{100 * number:.1f}%" for number in numbers)
                for numbers in (found.by_level, found.implied)
            )
            mean = "exact" if not perturbation else f"off by {perturbation} sin(3 x)"
            lines += [f"| {mean} | {label} | moment | {moments} |", f"| | | variance | {implied} |"]
            print("\n".join(lines[-2:]), f"{time.monotonic() - started:.0f} s", flush=True)
        axis.set(xlabel="training steps", yscale="log", title=f"perturbation {perturbation}")
        axis.axhline(0.05, color="grey", ls=":")
    axes[0].set_ylabel("relative L2 error")
    axes[0].legend(frameon=False)
    figure.savefig(f"{arguments.out}/variance_heads.png", dpi=110)
    head = "| mean | head | error of | " + " | ".join(f"log-SNR {level:g}" for level in LEVELS) + " |"
    rule = "|---|---|---|" + "---|" * len(LEVELS)
    with open(f"{arguments.out}/variance_heads.md", "w") as file:
        file.write("\n".join([head, rule, *lines]) + "\n")


if __name__ == "__main__":
    main()
