"""Exact moments of any table's samples on Gaussian data, without a sample drawn: the moment audit.

For x_0 ~ N(m, v) the denoiser is affine in x - alpha m,

    E[x_0 | x_t] = m + gain (x - alpha m),       gain  = alpha v / (alpha^2 v + sigma^2),
    E[eps | x_t] = slope (x - alpha m),          slope = sigma / (alpha^2 v + sigma^2),

so that the state and the remembered predictions stay jointly Gaussian and each row of a table maps their
mean and covariance to the next. A temperature divides the slope, and the gain follows from
x = alpha x_0 + sigma eps. A Langevin step is affine too, where its size does not depend on the state.
"""

import numpy as np

from samplers.tape import evaluate


def moments(sde, table, mean, variance, prior_variance=None, *, temperature=1.0, between=(), estimate=None):
    """Mean and variance of the samples of a float64 table on data N(mean, variance), one dimension.

    Exact, but for a Langevin step whose size follows from norms: there the norms are taken to be their
    expectations, as they are in many dimensions; and for an `estimate`, which leaves the states no Gaussians.

    Args:
      prior_variance: of the states at which runs begin; by default that of the SDE's prior.
      temperature: by which the score is divided.
      between: correctors that act between the moves; each has a `mean_size`.
      estimate: the mean of the estimate of Var[x_0 | x_t] as a function of (sigma / alpha)^2 and E[eps^2],
        where it depends on the state; by default the estimate is taken to be right.

    Returns:
      (mean, variance) of the final state; not finite where they exceed what float64 holds.

    Raises:
      ValueError: a table whose variance is learned, which a Gaussian does not determine.
    """
    if table.limits is not None:
        raise ValueError("a learned variance is the network's, and no Gaussian determines it")
    alpha, sigma = (evaluate(method, table.times) for method in (sde.alpha, sde.sigma))
    total = alpha**2 * variance + sigma**2
    slope = sigma / total / temperature
    gain = (alpha * variance / total) if temperature == 1 else (1 - sigma * slope) / alpha
    unknown = variance * sigma**2 / total  # Var[x_0 | x_t] of the model itself, at any temperature
    spread = np.zeros(table.rows + 1) if table.spread is None else table.spread
    most = np.full(table.rows + 1, np.inf) if table.most is None else table.most
    damping = [
        np.ones(table.rows) if acting.damping is None else evaluate(acting.damping.__call__, table.times)
        for acting in between
    ]

    size = 1 + table.history
    means, covariance = np.zeros(size), np.zeros((size, size))
    covariance[0, 0] = sde.prior_std**2 if prior_variance is None else prior_variance

    def moved(move, noise, spread, most, known):
        step = np.eye(size)
        step[0] = move
        after = step @ covariance @ step.T
        after[0, 0] += min(noise**2 + spread**2 * known, most)
        return step @ means, after

    with np.errstate(all="ignore"):  # of an unstable table the caller sees that it is not finite
        known = 0.0
        for k in range(table.rows):
            means, covariance = moved(table.move[k], table.noise[k], spread[k], most[k], known)
            at = alpha[k] * mean
            for acting, factors in zip(between, damping, strict=True):
                for _ in range(acting.steps):
                    # The score is -score_slope (x - alpha m).
                    score_slope = slope[k] / sigma[k]
                    score_square = score_slope**2 * ((means[0] - at) ** 2 + covariance[0, 0])
                    length = acting.mean_size(factors[k], sigma[k], score_square)
                    factor = 1 - length * score_slope
                    means[0] = at + factor * (means[0] - at)
                    covariance[0] *= factor
                    covariance[:, 0] *= factor
                    covariance[0, 0] += 2 * length
            known = unknown[k]
            if estimate is not None:
                square = (sigma[k] / total[k]) ** 2 * ((means[0] - at) ** 2 + covariance[0, 0])
                known = estimate((sigma[k] / alpha[k]) ** 2, square)
            weight = table.record[k] @ [gain[k], slope[k]]
            step = np.zeros((size, size))
            step[0, 0] = 1.0
            step[1] = weight * table.look[k]
            step[range(2, size), range(1, size - 1)] = 1.0
            means = step @ means
            means[1] += table.record[k, 0] * mean - weight * at
            covariance = step @ covariance @ step.T
        closing = (table.closing_move, float(table.closing_noise), spread[-1], most[-1], known)
        means, covariance = moved(*closing)
    return float(means[0]), float(covariance[0, 0])


def limit_of_many_steps(sde, start, end, variance, temperature, corrected):
    """The variance, at the time `end`, of what exact sampling at a temperature draws on data N(0, variance).

    In y = x / alpha and q = (sigma / alpha)^2 the reverse SDE with the score divided by T has

        dW / dq = 2 W / (T (v + q)) - 1,        W = Var[y],

    from the prior's W at `start`. Where Langevin steps act at each of many noise levels, they bring the state
    to the law that has the divided score: W = T (v + q).

    Args:
      start, end: times.
      corrected: whether Langevin steps act at each noise level.
    """
    alpha, sigma = (evaluate(method, [start, end]) for method in (sde.alpha, sde.sigma))
    first, last = variance + (sigma / alpha) ** 2
    if corrected:
        return float(alpha[1] ** 2 * temperature * last)
    power = 2 / temperature - 1
    fall = np.log(last / first)
    begin = (sde.prior_std / alpha[0]) ** 2 * np.exp((power + 1) * fall)
    # (1 - e^(power fall)) / power, also at the temperature 2, where power is 0.
    gathered = -fall if power == 0 else -np.expm1(power * fall) / power
    return float(alpha[1] ** 2 * (begin + last * gathered))
