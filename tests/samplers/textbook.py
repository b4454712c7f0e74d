"""Every solver as a plain loop over arrays, from its paper's formulas, without tables.

A loop gets a Run, which calls the denoiser and draws the noise that the table's loop would draw.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np


class Run:
    """A start, a denoiser and noise by call number."""

    def __init__(self, keys, sde, denoise, shape, x):
        self.sde, self.x, self._keys, self._denoise, self._shape = sde, x, keys, denoise, shape
        self.calls = 0

    def predict(self, x, t):
        self.calls += 1
        return self._denoise(x, jnp.full(len(x), t))

    def x0(self, x, t):
        return self.predict(x, t).x0

    def eps(self, x, t):
        return self.predict(x, t).eps

    def z(self):
        """The noise of a move after the last call and before the next."""
        keys = jax.vmap(jax.random.fold_in, (0, None))(self._keys, self.calls)
        keys = jax.vmap(jax.random.split)(keys)[:, 0]
        return jax.vmap(lambda key: jax.random.normal(key, self._shape))(keys)

    def level(self, t):
        """alpha, sigma, log(alpha / sigma) at t, as floats."""
        t = jnp.asarray(t, jnp.float64)
        return float(self.sde.alpha(t)), float(self.sde.sigma(t)), 0.5 * float(self.sde.log_snr(t))

    def time(self, half_log_snr):
        return float(self.sde.time_of_log_snr(jnp.asarray(2 * half_log_snr)))


def one_step(run, times, step):
    """step(x, t, s) from each time to the next."""
    x = run.x
    for t, s in itertools.pairwise(times):
        x = step(x, t, s)
    return x


def reverse_diffusion(run, times, flow=False):
    def step(x, t, s):
        (a, sigma, _), (a_s, sigma_s, _) = run.level(t), run.level(s)
        scale = a / a_s
        variance = sigma**2 - scale**2 * sigma_s**2
        score = run.predict(x, t).score
        if flow:
            return x - (scale - 1) * x + 0.5 * variance * score
        return x - (scale - 1) * x + variance * score + np.sqrt(variance) * run.z()

    return one_step(run, times, step)


def ancestral(run, times):
    def step(x, t, s):
        (a, sigma, _), (a_s, sigma_s, _) = run.level(t), run.level(s)
        scale = a / a_s
        variance = sigma**2 - scale**2 * sigma_s**2
        x0 = run.x0(x, t)
        mean = scale * sigma_s**2 / sigma**2 * x + a_s * variance / sigma**2 * x0
        return mean + sigma_s * np.sqrt(variance) / sigma * run.z()

    return one_step(run, times, step)


def euler_maruyama(run, times, flow=False):
    def step(x, t, s):
        h, f, g = t - s, run.sde.drift_rate(jnp.float64(t)), run.sde.diffusion(jnp.float64(t))
        score = run.predict(x, t).score
        if flow:
            return x - h * (f * x - 0.5 * g**2 * score)
        return x - h * (f * x - g**2 * score) + np.sqrt(h) * g * run.z()

    return one_step(run, times, step)


def stochastic_heun(run, times):
    def step(x, t, s):
        (a, sigma, _), (a_s, sigma_s, _) = run.level(t), run.level(s)
        variance = sigma**2 - (a / a_s) ** 2 * sigma_s**2
        keep, weight = a / a_s * sigma_s**2 / sigma**2, a_s * variance / sigma**2
        first = run.x0(x, t)
        noise = sigma_s * np.sqrt(variance) / sigma * run.z()
        second = run.x0(keep * x + weight * first + noise, s)
        return keep * x + weight * 0.5 * (first + second) + noise

    return one_step(run, times, step)


def ddim(run, times, eta):
    def step(x, t, s):
        (a, sigma, _), (a_s, sigma_s, _) = run.level(t), run.level(s)
        p = run.predict(x, t)
        w = eta * sigma_s / sigma * np.sqrt(sigma**2 - (a / a_s) ** 2 * sigma_s**2)
        return a_s * p.x0 + np.sqrt(sigma_s**2 - w**2) * p.eps + w * run.z()

    return one_step(run, times, step)


def edm(run, times, order, churn=0.0, churn_min=0.0, churn_max=np.inf, churn_noise=1.0):
    """In y = x / alpha and r = sigma / alpha."""
    levels = [run.level(t) for t in times]
    r = [s / a for a, s, _ in levels]
    y = run.x / levels[0][0]

    def eps(y, r):
        t = run.time(-np.log(r))
        return run.eps(run.level(t)[0] * y, t)

    for here, there in itertools.pairwise(r):
        gamma = min(churn / len(r), np.sqrt(2) - 1) if churn_min <= here <= churn_max else 0.0
        hat = min(here * (1 + gamma), r[0])
        y = y + churn_noise * np.sqrt(hat**2 - here**2) * run.z()
        d = eps(y, hat)
        if order == 1:
            y = y + (there - hat) * d
        else:
            y = y + (there - hat) * 0.5 * (d + eps(y + (there - hat) * d, there))
    return levels[-1][0] * y


def dpm_solver(run, times, orders):
    x = run.x
    for order, t, s in zip(orders, times, times[1:], strict=False):
        (a, _, lam), (a_s, sigma_s, lam_s) = run.level(t), run.level(s)
        h = lam_s - lam
        e = run.eps(x, t)
        base = a_s / a * x - sigma_s * np.expm1(h) * e
        if order == 1:
            x = base
        elif order == 2:
            m = run.time(lam + h / 2)
            a_m, sigma_m, _ = run.level(m)
            u = a_m / a * x - sigma_m * np.expm1(h / 2) * e
            x = base - sigma_s * np.expm1(h) * (run.eps(u, m) - e)
        else:
            m1, m2 = run.time(lam + h / 3), run.time(lam + 2 * h / 3)
            (a1, s1, _), (a2, s2, _) = run.level(m1), run.level(m2)
            u1 = a1 / a * x - s1 * np.expm1(h / 3) * e
            d1 = run.eps(u1, m1) - e
            u2 = a2 / a * x - s2 * np.expm1(2 * h / 3) * e
            u2 -= 2 * s2 * (np.expm1(2 * h / 3) / (2 * h / 3) - 1) * d1
            d2 = run.eps(u2, m2) - e
            x = base - 1.5 * sigma_s * (np.expm1(h) / h - 1) * d2
    return x


def plus_plus_single(run, times, order):
    x = run.x
    for t, s in itertools.pairwise(times):
        (_, sigma, lam), (a_s, sigma_s, lam_s) = run.level(t), run.level(s)
        h = lam_s - lam
        d = run.x0(x, t)
        base = sigma_s / sigma * x - a_s * np.expm1(-h) * d
        if order == 2:
            m = run.time(lam + h / 2)
            a_m, sigma_m, _ = run.level(m)
            d1 = run.x0(sigma_m / sigma * x - a_m * np.expm1(-h / 2) * d, m)
            base = base - a_s * np.expm1(-h) * (d1 - d)
        if order == 3:
            m1, m2 = run.time(lam + h / 3), run.time(lam + 2 * h / 3)
            (a1, s1, _), (a2, s2, _) = run.level(m1), run.level(m2)
            d1 = run.x0(s1 / sigma * x - a1 * np.expm1(-h / 3) * d, m1)
            u2 = s2 / sigma * x - a2 * np.expm1(-2 * h / 3) * d
            u2 += 2 * a2 * (np.expm1(-2 * h / 3) / (2 * h / 3) + 1) * (d1 - d)
            d2 = run.x0(u2, m2)
            base = base + 1.5 * a_s * (np.expm1(-h) / h + 1) * (d2 - d)
        x = base
    return x


def plus_plus_multi(run, times, order, published, tau=0.0):
    x, old = run.x, []
    for t, s in itertools.pairwise(times):
        (_, sigma, lam), (a_s, sigma_s, lam_s) = run.level(t), run.level(s)
        k = 1 + tau**2
        h = k * (lam_s - lam)
        d = run.x0(x, t)
        old = [(lam, d), *old][:order]
        moved = sigma_s / sigma * np.exp(-(tau**2) * (lam_s - lam)) * x - a_s * np.expm1(-h) * d
        if len(old) == 2:
            r = (lam - old[1][0]) / (lam_s - lam)
            half = -np.expm1(-h) / 2 if published else (h - 1 + np.exp(-h)) / h
            moved = moved + a_s * half * (d - old[1][1]) / r
        if len(old) == 3:
            r0, r1 = (lam - old[1][0]) / (lam_s - lam), (old[1][0] - old[2][0]) / (lam_s - lam)
            d0, d1 = (d - old[1][1]) / r0, (old[1][1] - old[2][1]) / r1
            first = d0 + r0 / (r0 + r1) * (d0 - d1)
            second = (1 if published else 2) * (d0 - d1) / (r0 + r1)
            moved = moved + a_s * (h - 1 + np.exp(-h)) / h * first
            moved = moved + a_s * (h**2 / 2 - h + 1 - np.exp(-h)) / h**2 * second
        if tau:
            moved = moved + sigma_s * np.sqrt(-np.expm1(-2 * tau**2 * (lam_s - lam))) * run.z()
        x = moved
    return x


def unipc(run, times, order, variant, correct=True):
    x, history = run.x, []
    for i, (t, s) in enumerate(itertools.pairwise(times)):
        (_, sigma, lam), (a_s, sigma_s, lam_s) = run.level(t), run.level(s)
        if i == 0 or not correct:
            history = [(lam, run.x0(x, t)), *history]
        p = min(order, i + 1)
        h = lam_s - lam
        hh = -h
        b_h = hh if variant == "bh1" else np.expm1(hh)
        d = history[0][1]
        r = [(history[k][0] - lam) / h for k in range(1, p)]
        m = [(history[k][1] - d) / r[k - 1] for k in range(1, p)]
        matrix = np.array([[x**j for x in [*r, 1.0]] for j in range(p)])
        b, g, factorial = [], np.expm1(hh) / hh - 1, 1
        for j in range(1, p + 1):
            b.append(g * factorial / b_h)
            factorial *= j + 1
            g = g / hh - 1 / factorial
        base = sigma_s / sigma * x - a_s * np.expm1(hh) * d
        predicted = base
        if p > 1:
            rho = [0.5] if p == 2 else np.linalg.solve(matrix[:-1, :-1], b[:-1])
            predicted = base - a_s * b_h * sum(w * v for w, v in zip(rho, m, strict=True))
        if correct and i < len(times) - 2:
            new = run.x0(predicted, s)
            rho = [0.5] if p == 1 else np.linalg.solve(matrix, b)
            x = base - a_s * b_h * sum(w * v for w, v in zip(rho, [*m, new - d], strict=True))
            history = [(lam_s, new), *history]
        else:
            x = predicted
    return x


def pndm(run, times, order, runge_kutta):
    def transfer(x, e, t, s):
        (a, sigma, _), (a_s, sigma_s, _) = run.level(t), run.level(s)
        return a_s * (x - sigma * e) / a + sigma_s * e

    weights = [[1], [1.5, -0.5], np.array([23, -16, 5]) / 12, np.array([55, -59, 37, -9]) / 24]
    x, history = run.x, []
    for i, (t, s) in enumerate(itertools.pairwise(times)):
        e = run.eps(x, t)
        history = [e, *history][:order]
        if runge_kutta and i < order - 1:
            m = (t + s) / 2
            e2 = run.eps(transfer(x, e, t, m), m)
            e3 = run.eps(transfer(x, e2, t, m), m)
            e4 = run.eps(transfer(x, e3, t, s), s)
            x = transfer(x, (e + 2 * e2 + 2 * e3 + e4) / 6, t, s)
        else:
            x = transfer(x, sum(w * v for w, v in zip(weights[len(history) - 1], history, strict=True)), t, s)
    return x


def _integral(nodes, j, value, element, low, high):
    """Integral over [low, high] of the j-th Lagrange polynomial in value(u), times element(u), by panels."""
    u, w = np.polynomial.legendre.leggauss(12)
    edges = np.linspace(low, high, 41)
    total = 0.0
    for a, b in itertools.pairwise(edges):
        at = a + (b - a) * (1 + u) / 2
        v = value(at)
        others = [n for i, n in enumerate(nodes) if i != j]
        basis = np.prod([(v - n) / (nodes[j] - n) for n in others], axis=0) if others else np.ones_like(v)
        total += (b - a) / 2 * np.sum(w * basis * element(at))
    return total


def deis(run, times, order, variable):
    """In y = x / alpha: dy = eps dr = -r eps d lambda."""
    levels = [run.level(t) for t in times]

    def value(lam):
        t = np.asarray(run.sde.time_of_log_snr(2 * jnp.asarray(lam)))
        return {"t": t, "r": np.exp(-lam), "log_snr": lam}[variable]

    y, history = run.x / levels[0][0], []
    for i, t in enumerate(times[:-1]):
        history = [run.eps(levels[i][0] * y, t), *history][: order + 1]
        nodes = [value(levels[i - j][2]) for j in range(len(history))]
        for j, e in enumerate(history):
            low, high = levels[i][2], levels[i + 1][2]
            y = y + e * _integral(nodes, j, value, lambda lam: -np.exp(-lam), low, high)
    return levels[-1][0] * y


def sa_solver(run, times, order, corrector_order, tau):
    x, history, before = run.x, [], None
    k = 1 + tau**2

    def weights(nodes, lam, lam_s):
        kernel = lambda u: k * np.exp(-k * (lam_s - u))  # noqa: E731
        return [_integral(nodes, j, lambda u: u, kernel, lam, lam_s) for j in range(len(nodes))]

    for t, s in itertools.pairwise(times):
        (_, sigma, lam), (a_s, sigma_s, lam_s) = run.level(t), run.level(s)
        d = run.x0(x, t)
        if before is not None and corrector_order:
            # The corrector starts from the same point, with the same noise.
            base, a_t, lam_before = before
            used = [(lam, d), *history][:corrector_order]
            parts = weights([u[0] for u in used], lam_before, lam)
            x = base + a_t * sum(w * u[1] for w, u in zip(parts, used, strict=True))
        history = [(lam, d), *history][:4]
        used = history[:order]
        base = sigma_s / sigma * np.exp(-(tau**2) * (lam_s - lam)) * x
        base = base + sigma_s * np.sqrt(-np.expm1(-2 * tau**2 * (lam_s - lam))) * run.z()
        parts = weights([u[0] for u in used], lam, lam_s)
        x = base + a_s * sum(w * u[1] for w, u in zip(parts, used, strict=True))
        before = (base, a_s, lam)
    return x


def restart(run, times, low, high, restarts, steps):
    """Heun's method in y and r; at the last point within [low, high] up to `high` and down again."""
    levels = [run.level(t) for t in times]
    r = [s / a for a, s, _ in levels]
    turn = max(i for i, v in enumerate(r) if low <= v <= high)

    def eps(y, r):
        t = run.time(-np.log(r))
        return run.eps(run.level(t)[0] * y, t)

    def heun(y, grid):
        for here, there in itertools.pairwise(grid):
            d = eps(y, here)
            y = y + (there - here) * 0.5 * (d + eps(y + (there - here) * d, there))
        return y

    y = heun(run.x / levels[0][0], r[: turn + 1])
    lap = np.linspace(high ** (1 / 7), r[turn] ** (1 / 7), steps + 1) ** 7
    for _ in range(restarts):
        y = y + np.sqrt(lap[0] ** 2 - r[turn] ** 2) * run.z()
        y = heun(y, lap)
    return levels[-1][0] * heun(y, r[turn:])
