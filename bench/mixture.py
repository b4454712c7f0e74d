"""What the testbed measures: writes docs/testbed.png and prints its numbers as Markdown.

    python -m bench.mixture

Every process's log-SNR; the error of the flow's log-density against network calls; the gap of the
discrete-time bound against the number of steps; samples of the two moons.
"""

import jax
import jax.numpy as jnp
import numpy as np

import samplers
from configs import gaussian_mixture
from denoisers.mixtures import Digits, Ring, TwoMoons
from likelihood.bounds import DensityDecoder, continuous_bound, discrete_bound, log_snr_levels
from likelihood.encoding import decode, encode
from likelihood.exact import log_likelihood
from reports.pictures import BLUE, GREY, ORANGE, pyplot
from sde_lib import SDES
from sde_lib.noise import example_keys, root_key
from sde_lib.vp import VP

TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


STEPS = (8, 16, 32, 64, 128, 256, 512)


COUNT = 40


def _at_t_min(mixture, sde):
    t = jnp.full(COUNT, sde.t_min)
    mean, std = sde.marginal(mixture.sample(root_key(0), COUNT), t)
    x = mean + std * jax.random.normal(root_key(1), mean.shape)
    return x, mixture.log_prob(x, sde.alpha(t), sde.sigma(t))


def flow_errors(sde, solver, tolerances):
    """(NFE, root-mean-square error in nats/dim) on the digits mixture for each tolerance, exact trace."""
    mixture = Digits().build()
    x, exact = _at_t_min(mixture, sde)

    def denoise(x, t):
        return mixture.denoise(sde, x, t)

    def end(x):
        return mixture.log_prob(x, sde.alpha(sde.t_max), sde.sigma(sde.t_max))

    @jax.jit
    def solve(x, tolerance):
        keys = jax.random.split(root_key(2), COUNT)
        return log_likelihood(
            keys, sde, denoise, x, tolerance, "exact", solver=solver, max_steps=10_000, prior_log_prob=end
        )

    rows = []
    for tolerance in tolerances:
        found = solve(x, tolerance)
        errors = (found.log_prob - exact) / mixture.dimension
        rows.append((float(found.nfe.mean()), float(jnp.sqrt(jnp.mean(errors**2)))))
    return np.array(rows).T


def round_trip(sde, tolerance):
    """Largest error of decode(encode(x)) on the digits mixture in float32."""
    mixture = Digits().build()
    x = mixture.sample(root_key(0), COUNT)

    @jax.jit
    def there_and_back(x):
        def denoise(x, t):
            return mixture.denoise(sde, x, t)

        return decode(sde, denoise, encode(sde, denoise, x, tolerance).x, tolerance).x

    return float(jnp.abs(there_and_back(x) - x).max())


def bound_gaps(sde, steps, count=20_000):
    """(gap, standard error) in nats/dim of the discrete bound on the ring, and of the continuous one."""
    mixture = Ring().build()
    keys, x0 = jax.random.split(root_key(0), count), mixture.sample(root_key(1), count)

    def gap(bound, *arguments):
        def denoise(x, t):
            return mixture.denoise(sde, x, t)

        total = jax.jit(lambda x0: bound(keys, sde, denoise, x0, *arguments, DensityDecoder()).total)(x0)
        values = np.asarray(total + mixture.log_prob(x0), np.float64) / mixture.dimension
        return values.mean(), values.std() / np.sqrt(count)

    discrete = [gap(discrete_bound, log_snr_levels(sde, n)) for n in steps]
    return np.array(discrete).T, gap(continuous_bound, 128)


def _moons(count=3000):
    config = gaussian_mixture.get_config("two_moons")
    sde, mixture = VP(), TwoMoons().build()
    sampler = samplers.create(config.sampling, sde)
    keys = example_keys(root_key(0), jnp.arange(count))
    table = sampler.table.astype(np.float32)
    return jax.jit(
        lambda keys: (
            samplers.sample(keys, sde, lambda x, t: mixture.denoise(sde, x, t), mixture.shape, table).x
        )
    )(keys)


def main():
    plt = pyplot()
    figure, axes = plt.subplots(2, 2, figsize=(12, 9), layout="constrained")
    (snr, flow), (gap, moons) = axes
    for i, (name, cls) in enumerate(SDES.items()):
        sde = cls()
        t = np.linspace(sde.t_min, sde.t_max, 400)
        style = ("-", "--", ":")[i % 3]
        snr.plot(t / sde.t_max, sde.log_snr(jnp.asarray(t)), style, label=name)
    snr.set(xlabel="t / t_max", ylabel="log-SNR", title="The forward processes")
    snr.legend(frameon=False, fontsize=8, ncols=2)

    print("| log-density, digits | tolerance | NFE | root mean square error, nats/dim |\n|---|---|---|---|")
    sde = VP()
    runs = {"float32, Dormand-Prince 5": flow_errors(sde, "dopri5", TOLERANCES[:6])}
    with jax.enable_x64(True):
        runs["float64, Dormand-Prince 5"] = flow_errors(sde, "dopri5", TOLERANCES)
        runs["float64, Dormand-Prince 8"] = flow_errors(sde, "dopri8", TOLERANCES)
    for (label, (nfe, error)), colour in zip(runs.items(), (GREY, BLUE, ORANGE), strict=True):
        flow.plot(nfe, error, "o-", ms=4, label=label, color=colour)
        for tolerance, calls, value in zip(TOLERANCES, nfe, error, strict=False):
            print(f"| {label} | {tolerance:.0e} | {calls:.0f} | {value:.1e} |")
    flow.set(yscale="log", xlabel="network calls (NFE)", ylabel="error in nats/dim")
    flow.set_title("Log-density by the probability flow, 64-D digits")
    flow.legend(frameon=False)

    print("\n| bound minus exact, ring, nats/dim | steps | gap |\n|---|---|---|")
    for (name, cls), colour in zip(
        (("vp", VP), ("cosine", SDES["cosine"]), ("ve", SDES["ve"])), (BLUE, ORANGE, GREY), strict=True
    ):
        (values, errors), continuous = bound_gaps(cls(), STEPS)
        gap.errorbar(STEPS, values, errors, fmt="o-", ms=4, label=name, color=colour)
        for steps, value, error in zip(STEPS, values, errors, strict=True):
            print(f"| {name}, discrete | {steps} | {value:.4f} ± {error:.4f} |")
        print(f"| {name}, continuous | | {continuous[0]:.4f} ± {continuous[1]:.4f} |")
    gap.plot(STEPS, 40 / np.asarray(STEPS), ":", color="black", label="first order")
    gap.set(xscale="log", yscale="log", xlabel="steps, even in log-SNR", ylabel="nats/dim")
    gap.set_title("Discrete-time bound minus exact negative log-likelihood, ring")
    gap.legend(frameon=False)

    moons.scatter(*np.asarray(_moons()).T, s=2, alpha=0.5, color=BLUE, linewidths=0)
    moons.set(aspect="equal", title="Two moons, ancestral sampling, 500 steps, exact denoiser")
    figure.savefig("docs/testbed.png", dpi=90)

    print("\n| largest error of decode(encode(x)), float32 | tolerance | error |\n|---|---|---|")
    for name in ("vp", "ve", "cosine"):
        for tolerance in (1e-4, 1e-5, 1e-6):
            print(f"| {name} | {tolerance:.0e} | {round_trip(SDES[name](), tolerance):.1e} |")


if __name__ == "__main__":
    main()
