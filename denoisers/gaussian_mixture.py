"""Gaussian mixtures as data: score, denoiser, posterior variance and likelihood in closed form.

For x_0 ~ sum_k w_k N(m_k, C_k) and x_t = alpha x_0 + sigma eps, x_t is a mixture of
N(alpha m_k, S_k) with S_k = alpha^2 C_k + sigma^2 I. Given the component,

    E[x_0 | x_t, k] = m_k + alpha C_k S_k^-1 (x_t - alpha m_k),
    E[eps | x_t, k] = sigma S_k^-1 (x_t - alpha m_k),
    Cov[x_0 | x_t, k] = sigma^2 C_k S_k^-1,

and the posterior of the component weighs them. The covariances come in two structures, so
that nothing of size d x d is inverted; both avoid the cancellations of the formulas above.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from denoisers.prediction import Denoise, Prediction
from sde_lib.base import SDE, expand

LOG_2PI = float(np.log(2 * np.pi))


class Posterior(NamedTuple):
    """What x_t tells of each component; v = x_t - alpha m_k.

    Components come first, as a product over batches of matrices is fast where the batch is the first axis.

    Attributes:
      x0: [K, B, d] E[x_0 | x_t, k] - m_k.
      eps: [K, B, d] E[eps | x_t, k].
      variance: [K, B, d] diagonal of Cov[x_0 | x_t, k].
      log_prob: [K, B] log-density of x_t under component k.
    """

    x0: jax.Array
    eps: jax.Array
    variance: jax.Array
    log_prob: jax.Array


@flax.struct.dataclass
class Spectral:
    """Covariances Q diag(variances) Q^T + rest (I - Q Q^T): full, or low rank plus a multiple of I.

    Attributes:
      axes: [K, d, r] orthonormal columns Q; r = d for full covariances.
      variances: [K, r] along the axes.
      rest: [K] variance in every other direction; has no effect where r = d.
    """

    axes: jax.Array
    variances: jax.Array
    rest: jax.Array

    def posterior(self, v, alpha, sigma):
        """The Posterior of offsets v [K, B, d] at alpha, sigma [B, 1]."""
        dimension, rank = self.axes.shape[1:]
        inside = jnp.einsum("kbd,kdr->kbr", v, self.axes)
        variances = self.variances[:, None]
        total = alpha**2 * variances + sigma**2
        variance = jnp.einsum("kbr,kdr->kbd", sigma**2 * variances / total, self.axes**2)
        squares = jnp.sum(inside**2 / total + jnp.log(total), axis=2)
        x0 = jnp.einsum("kbr,kdr->kbd", alpha * variances / total * inside, self.axes)
        eps = jnp.einsum("kbr,kdr->kbd", sigma / total * inside, self.axes)
        if rank < dimension:
            outside = v - jnp.einsum("kbr,kdr->kbd", inside, self.axes)
            rest = self.rest[:, None, None]
            total = alpha**2 * rest + sigma**2
            x0 += alpha * rest / total * outside
            eps += sigma / total * outside
            variance += sigma**2 * rest / total * (1 - jnp.sum(self.axes**2, axis=2)[:, None])
            squares += jnp.sum(outside**2, axis=2) / total[..., 0]
            squares += (dimension - rank) * jnp.log(total[..., 0])
        return Posterior(x0, eps, variance, -0.5 * (squares + dimension * LOG_2PI))

    def sample(self, key, component):
        """Draws [N, d] with mean zero from the components [N]."""
        inside_key, outside_key = jax.random.split(key)
        axes = self.axes[component]
        z = jax.random.normal(inside_key, axes.shape[::2], axes.dtype)
        x = jnp.einsum("ndr,nr->nd", axes, z * jnp.sqrt(self.variances[component]))
        if axes.shape[2] < axes.shape[1]:
            z = jax.random.normal(outside_key, axes.shape[:2], axes.dtype)
            outside = z - jnp.einsum("ndr,nr->nd", axes, jnp.einsum("ndr,nd->nr", axes, z))
            x += jnp.sqrt(self.rest[component])[:, None] * outside
        return x

    def traces(self):
        """[K] sums of the variances of all dimensions."""
        dimension, rank = self.axes.shape[1:]
        return self.variances.sum(axis=1) + (dimension - rank) * self.rest

    def dense(self):
        """The covariances [K, d, d]."""
        identity = jnp.eye(self.axes.shape[1], dtype=self.axes.dtype)
        inside = jnp.einsum(
            "kdr,ker->kde", self.axes * (self.variances - self.rest[:, None])[:, None], self.axes
        )
        return inside + self.rest[:, None, None] * identity


@flax.struct.dataclass
class LowRankPlusDiagonal:
    """Covariances diag(diagonal) + U U^T, by Woodbury's identity; r = 0 columns for diagonal ones.

    Attributes:
      factors: [K, d, r] the columns of U.
      diagonal: [K, d] positive.
    """

    factors: jax.Array
    diagonal: jax.Array

    def posterior(self, v, alpha, sigma):
        """The Posterior of offsets v [K, B, d] at alpha, sigma [B, 1].

        With x_0 = m + D^(1/2) xi + U z, first z given x_t, then xi given both.
        """
        dimension, rank = self.factors.shape[1:]
        diagonal = self.diagonal[:, None]
        total = alpha**2 * diagonal + sigma**2
        spread = jnp.zeros_like(v)
        log_determinant, squares, from_z = 0.0, 0.0, 0.0
        if rank:
            precision = jnp.eye(rank, dtype=v.dtype) + jnp.einsum(
                "kbd,kdr,kds->kbrs", alpha**2 / total, self.factors, self.factors
            )
            root = jnp.linalg.cholesky(precision)
            told = jnp.einsum("kbd,kdr->kbr", alpha / total * v, self.factors)
            z = jax.scipy.linalg.cho_solve((root, True), told[..., None])[..., 0]
            from_z = jnp.einsum("kbr,kdr->kbd", z, self.factors)
            # Rows of U L^-T, whose squares are the diagonal of U M^-1 U^T.
            whitened = jax.lax.linalg.triangular_solve(
                root, jnp.broadcast_to(self.factors[:, None], (*v.shape, rank)), lower=True, transpose_a=True
            )
            spread = jnp.sum(whitened**2, axis=3)
            log_determinant = 2 * jnp.sum(jnp.log(jnp.diagonal(root, axis1=2, axis2=3)), axis=2)
            squares = jnp.sum(z**2, axis=2)
        left = v - alpha * from_z
        keep = sigma**2 / total
        squares += jnp.sum(left**2 / total + jnp.log(total), axis=2) + log_determinant
        return Posterior(
            x0=alpha * diagonal / total * left + from_z,
            eps=sigma / total * left,
            variance=keep * diagonal + keep**2 * spread,
            log_prob=-0.5 * (squares + dimension * LOG_2PI),
        )

    def sample(self, key, component):
        """Draws [N, d] with mean zero from the components [N]."""
        diagonal_key, factor_key = jax.random.split(key)
        diagonal, factors = self.diagonal[component], self.factors[component]
        z = jax.random.normal(factor_key, factors.shape[::2], factors.dtype)
        x = jnp.sqrt(diagonal) * jax.random.normal(diagonal_key, diagonal.shape, diagonal.dtype)
        return x + jnp.einsum("ndr,nr->nd", factors, z)

    def traces(self):
        """[K] sums of the variances of all dimensions."""
        return self.diagonal.sum(axis=1) + (self.factors**2).sum(axis=(1, 2))

    def dense(self):
        """The covariances [K, d, d]."""
        diagonal = jax.vmap(jnp.diag)(self.diagonal)
        return diagonal + jnp.einsum("kdr,ker->kde", self.factors, self.factors)


@flax.struct.dataclass
class GaussianMixture:
    """A mixture of Gaussians over arrays of one shape.

        >>> import sde_lib
        >>> one = GaussianMixture.diagonal([1.0], [[0.0]], [[1.0]])
        >>> found = one.denoise(sde_lib.VP(), jnp.ones((1, 1)), jnp.full(1, 0.5))
        >>> bool(jnp.allclose(found.x0, found.alpha))  # alpha / (alpha^2 + sigma^2)
        True

    Attributes:
      log_weights: [K] logarithms of the weights, which sum to one.
      means: [K, d] of the flattened data.
      covariances: Spectral or LowRankPlusDiagonal.
      shape: shape of one data point; its size is d.
    """

    log_weights: jax.Array
    means: jax.Array
    covariances: Any
    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)

    @classmethod
    def full(cls, weights, means, covariances, shape=None):
        """From dense covariances [K, d, d], factored here in float64.

        Raises:
          ValueError: sizes that do not fit, or a covariance that is not symmetric and positive definite.
        """
        means, covariances = np.asarray(means, np.float64), np.asarray(covariances, np.float64)
        if not np.allclose(covariances, np.swapaxes(covariances, 1, 2)):
            raise ValueError("a covariance is not symmetric")
        variances, axes = np.linalg.eigh(covariances)
        if not variances.min() > 0:
            raise ValueError(f"a covariance is not positive definite: least eigenvalue {variances.min()}")
        return cls._create(weights, means, Spectral(axes, variances, variances[:, -1]), shape)

    @classmethod
    def diagonal(cls, weights, means, variances, shape=None):
        """From variances [K, d] of each dimension."""
        means = np.asarray(means, np.float64)
        return cls.low_rank(weights, means, np.zeros((*means.shape, 0)), variances, shape)

    @classmethod
    def low_rank(cls, weights, means, factors, diagonal, shape=None):
        """From covariances diag(diagonal [K, d]) + U U^T with U = factors [K, d, r]."""
        diagonal = np.broadcast_to(np.asarray(diagonal, np.float64), np.shape(means))
        if not diagonal.min() > 0:
            raise ValueError(f"diagonal must be positive; its least entry is {diagonal.min()}")
        covariances = LowRankPlusDiagonal(np.asarray(factors, np.float64), diagonal)
        return cls._create(weights, means, covariances, shape)

    @classmethod
    def _create(cls, weights, means, covariances, shape):
        weights, means = np.asarray(weights, np.float64), np.asarray(means, np.float64)
        shape = tuple(shape or means.shape[1:])
        if means.shape != (len(weights), np.prod(shape)) or not weights.min() > 0:
            raise ValueError(f"{len(weights)} weights, means {means.shape} and shape {shape} do not fit")
        arrays = (np.log(weights / weights.sum()), means, covariances)
        return cls(*jax.tree.map(jnp.asarray, arrays), shape)

    @classmethod
    def fit(cls, data, components=1, noise_variance=0.0, seed=0):
        """Maximum-likelihood fit to data [N, ...], formed in float64.

        `noise_variance` is added in every direction: the variance of dequantization
        noise, say, which need not be drawn for its covariance to be known.
        """
        flat = np.asarray(data, np.float64).reshape(len(data), -1)
        shape = tuple(np.shape(data)[1:])
        if components == 1:
            offsets = flat - flat.mean(axis=0)
            weights, means, covariances = (
                [1.0],
                flat.mean(axis=0)[None],
                (offsets.T @ offsets / len(flat))[None],
            )
        else:
            from sklearn.mixture import GaussianMixture as ScikitMixture

            found = ScikitMixture(components, random_state=seed, reg_covar=1e-4).fit(flat)
            weights, means, covariances = found.weights_, found.means_, found.covariances_
        variances, axes = np.linalg.eigh(covariances)
        variances = np.maximum(variances, 0.0) + noise_variance
        return cls._create(weights, means, Spectral(axes, variances, variances[:, -1]), shape)

    @property
    def dimension(self):
        """Numbers d in one data point."""
        return self.means.shape[1]

    @property
    def std(self):
        """Standard deviation of the data about their mean, root mean square over the dimensions."""
        own = jax.tree.map(np.asarray, self)
        weights = np.exp(own.log_weights)
        offsets = own.means - weights @ own.means
        variances = own.covariances.traces() + (offsets**2).sum(axis=1)
        return float(np.sqrt(weights @ variances / self.dimension))

    def astype(self, dtype):
        """The same mixture, cast."""
        return jax.tree.map(lambda a: jnp.asarray(np.asarray(a, dtype)), self)

    def sample(self, key, count):
        """Draws [count, *shape]."""
        component_key, key = jax.random.split(key)
        component = jax.random.categorical(component_key, self.log_weights, shape=(count,))
        x = self.means[component] + self.covariances.sample(key, component)
        return x.reshape(count, *self.shape)

    def _posterior(self, x, alpha, sigma):
        """The Posterior and the log-weights [K, B] of x [B, ...] with the components' own log-densities."""
        alpha, sigma = (jnp.broadcast_to(c, (len(x),))[:, None] for c in (alpha, sigma))
        offsets = x.reshape(len(x), -1) - alpha * self.means[:, None]
        posterior = self.covariances.posterior(offsets, alpha, sigma)
        return posterior, self.log_weights[:, None] + posterior.log_prob

    def log_prob(self, x, alpha=1.0, sigma=0.0):
        """Log-density [B] in nats of x [B, ...] under the law of alpha x_0 + sigma eps.

        Args:
          alpha, sigma: numbers, or [B].
        """
        return jax.nn.logsumexp(self.component_log_prob(x, alpha, sigma), axis=1)

    def component_log_prob(self, x, alpha=1.0, sigma=0.0):
        """[B, K] log of weight times density of each component at x [B, ...], as `log_prob` has it."""
        return self._posterior(x, alpha, sigma)[1].T

    def denoise(self, sde: SDE, x, t):
        """The exact Prediction at x [B, ...] and t [B], with the posterior variance of x_0."""
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        posterior, log_weights = self._posterior(x, alpha, sigma)
        weights = jax.nn.softmax(log_weights, axis=0)[..., None]
        means = self.means[:, None] + posterior.x0
        x0 = jnp.sum(weights * means, axis=0)
        eps = jnp.sum(weights * posterior.eps, axis=0)
        within = jnp.sum(weights * posterior.variance, axis=0)
        between = jnp.sum(weights * (means - x0) ** 2, axis=0)
        return Prediction(
            x0=x0.reshape(x.shape),
            eps=eps.reshape(x.shape),
            alpha=expand(alpha, x),
            sigma=expand(sigma, x),
            x0_variance=(within + between).reshape(x.shape),
        )


@dataclasses.dataclass(frozen=True)
class ExactDenoiser:
    """A mixture where a network's denoiser stands: its parameters are the mixture itself.

    Attributes:
      sde: the forward process.
      mixture: the data.
    """

    sde: SDE
    mixture: GaussianMixture
    takes_labels: ClassVar[bool] = False

    def init(self, key=None, shape=None, labelled=False):
        """The parameters: the mixture."""
        return self.mixture

    def __call__(self, params, x, t, label=None, dropout_keys=None):
        """The exact Prediction at x [B, ...] and t [B]; a mixture has no labels and no dropout."""
        return params.denoise(self.sde, x, t)

    def bind(self, params, label=None) -> Denoise:
        """The function (x, t) -> Prediction that samplers and likelihoods take."""
        return lambda x, t: self(params, x, t)
