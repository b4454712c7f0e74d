"""Exact moments of any table's samples on Gaussian data, without a sample drawn.

For x_0 ~ N(m, v) the denoiser is affine, D = m + gain (x - alpha m) with gain = alpha v / (alpha^2 v +
sigma^2), so that the state and the remembered predictions stay jointly Gaussian and each row of a
table maps their mean and covariance to the next.
"""

import numpy as np

from samplers.tape import evaluate


def moments(sde, table, mean, variance, prior_variance=None):
    """Mean and variance of the samples of a float64 table on data N(mean, variance), one dimension.

    Args:
      prior_variance: of the states at which runs begin; by default that of the SDE's prior.

    Returns:
      (mean, variance) of the final state.
    """
    alpha, sigma = (evaluate(method, table.times) for method in (sde.alpha, sde.sigma))
    size = 1 + table.history
    means, covariance = np.zeros(size), np.zeros((size, size))
    covariance[0, 0] = sde.prior_std**2 if prior_variance is None else prior_variance
    spread = np.zeros(table.rows + 1) if table.spread is None else table.spread
    known = 0.0  # Var[x_0 | x_t] at the newest call

    def moved(move, noise, spread):
        step = np.eye(size)
        step[0] = move
        after = step @ covariance @ step.T
        after[0, 0] += noise**2 + spread**2 * known
        return step @ means, after

    for k in range(table.rows):
        means, covariance = moved(table.move[k], table.noise[k], spread[k])
        total = alpha[k] ** 2 * variance + sigma[k] ** 2
        gain = alpha[k] * variance / total
        known = variance * sigma[k] ** 2 / total
        # x0 = mean + gain (x - alpha mean), eps = sigma / total (x - alpha mean)
        slope = table.record[k] @ [gain, sigma[k] / total]
        shift = table.record[k, 0] * mean - slope * alpha[k] * mean
        step = np.zeros((size, size))
        step[0, 0] = 1.0
        step[1] = slope * table.look[k]
        step[range(2, size), range(1, size - 1)] = 1.0
        means = step @ means
        means[1] += shift
        covariance = step @ covariance @ step.T
    means, covariance = moved(table.closing_move, float(table.closing_noise), spread[-1])
    return float(means[0]), float(covariance[0, 0])
