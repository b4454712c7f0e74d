"""One Gaussian as data: the simplest distribution whose denoiser is known exactly.

For x_0 ~ N(mean, C) with C = Q diag(v) Q^T, and x_t = alpha x_0 + sigma eps,

    E[x_0 | x_t] = mean + Q diag(alpha v / (alpha^2 v + sigma^2)) Q^T (x_t - alpha mean),
    E[eps | x_t] = Q diag(sigma / (alpha^2 v + sigma^2)) Q^T (x_t - alpha mean).

Fitted to a training set it is the baseline that a network has to beat.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from sde_lib.base import SDE, expand
from sde_lib.prediction import Prediction


@flax.struct.dataclass
class Gaussian:
    """A Gaussian with full covariance over arrays of one shape.

    Attributes:
      mean: [d] mean of the flattened data.
      axes: [d, d] orthonormal eigenvectors of the covariance, in columns.
      variances: [d] eigenvalues, positive.
      shape: shape of one data point; its size is d.
    """

    mean: jax.Array
    axes: jax.Array
    variances: jax.Array
    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)

    @classmethod
    def fit(cls, data, noise_variance=0.0):
        """Maximum-likelihood fit to data [N, ...], formed in float64.

        `noise_variance` is added in every direction: the variance of dequantization
        noise, say, which need not be drawn for its covariance to be known.
        """
        flat = np.asarray(data, np.float64).reshape(len(data), -1)
        mean = flat.mean(axis=0)
        variances, axes = np.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
        variances = np.maximum(variances, 0.0) + noise_variance
        return cls(jnp.asarray(mean), jnp.asarray(axes), jnp.asarray(variances), tuple(data.shape[1:]))

    def sample(self, key, count):
        """Draws [count, *shape]."""
        z = jax.random.normal(key, (count, self.mean.size), self.mean.dtype)
        return (self.mean + (z * jnp.sqrt(self.variances)) @ self.axes.T).reshape(count, *self.shape)

    def log_prob(self, x, alpha=1.0, sigma=0.0):
        """Log-density [B] in nats of x [B, ...] under the law of alpha x_0 + sigma eps."""
        offsets = (x.reshape(len(x), -1) - alpha * self.mean) @ self.axes
        variances = alpha**2 * self.variances + sigma**2
        return -0.5 * jnp.sum(offsets**2 / variances + jnp.log(2 * jnp.pi * variances), axis=1)

    def denoise(self, sde: SDE, x, t):
        """The exact Prediction at x [B, ...] and t [B]."""
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        a, s = expand(alpha, x), expand(sigma, x)
        flat_a, flat_s = alpha[:, None], sigma[:, None]
        total = flat_a**2 * self.variances + flat_s**2
        offsets = (x.reshape(len(x), -1) - flat_a * self.mean) @ self.axes
        x0 = self.mean + (offsets * flat_a * self.variances / total) @ self.axes.T
        eps = (offsets * flat_s / total) @ self.axes.T
        return Prediction(x0=x0.reshape(x.shape), eps=eps.reshape(x.shape), alpha=a, sigma=s)
