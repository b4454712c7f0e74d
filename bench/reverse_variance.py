"""Bound and samples under every variance of the reverse step, on data whose posterior variance is known.

    python -m bench.reverse_variance [--out docs]

For each mixture, grid and number of calls K: the discrete-time bound in nats/dim, the sliced Wasserstein
distance of samples to exact ones beside its floor between two exact sets, the share of samples where exact
ones hardly are (below the 1% quantile of the exact log-density: 1% is perfect), and the samples' total
variance in units of the data's. "Full covariance" draws the correlated noise that no network offers: what is
left of the steps' error when only the Gaussian form of a step is wrong. Writes reverse_variance.md and
reverse_variance.csv.
"""

import argparse
import csv
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from configs import gaussian_mixture
from evaluation.bounds import bounds_in_nats
from evaluation.held_out import HeldOut
from experiment import create
from experiment.draw import NumberedSamples
from likelihood.bounds import DensityDecoder
from metrics.sliced_wasserstein import sliced_wasserstein
from modes import optimal_grid
from modes.variance import run as measure_variance
from sde_lib.noise import root_key

CASES = ("ring", "two_moons", "digits")
GRIDS = ("uniform", "log_snr", "optimal")
CALLS = (10, 25)
COUNT, REPEATS = 4000, 4
# Row: fields of sampling.predictor, and of sampling.variance (None: draw_full_covariance).
CHOICES = {
    "DDPM, small": ({"name": "ancestral"}, {"name": "small"}),
    "DDPM, large": ({"name": "ancestral"}, {"name": "large"}),
    "one for each time": ({"name": "ancestral"}, {"name": "analytic_residual"}),
    "one for each state": ({"name": "ancestral"}, {"name": "predicted", "average": True}),
    "by dimension": ({"name": "ancestral"}, {"name": "predicted"}),
    "full covariance": ({"name": "ancestral"}, None),
    "DDIM": ({"name": "ddim", "eta": 0.0}, {"name": "small"}),
    "DDIM, by dimension": ({"name": "ddim", "eta": 0.0}, {"name": "predicted"}),
}
COLUMNS = ("case", "grid", "calls", "variance", "nats_per_dim", "error", "distance", "spread", "floor")
COLUMNS += ("floor_spread", "off_data", "variance_ratio")


def measured(case, folder):
    """The config of a mixture on VP; its analytic variance and its optimal grid are in the folder."""
    config = gaussian_mixture.get_config(case)
    config.sampling.largest_bias = None
    config.variance.examples = 20_000
    config.optimal_grid.update({"levels": 100, "examples": 2000, "batch_size": 500, "steps": CALLS})
    config.eval.batch_size = config.sampling.batch_size = 1000
    config.eval.evaluators = ("discrete_bound",)
    config.eval.bound.images = COUNT
    measure_variance(config, folder)
    best = config.copy_and_resolve_references()
    best.eval.bound.variance.name = "predicted"
    optimal_grid.run(best, folder)
    return config


def with_choice(config, folder, grid, calls, predictor, variance):
    """The config of one row: its sampler, and the bound of a chain with the sampler's variance.

    Args:
      config: of `measured`.
      predictor, variance: fields, as in CHOICES.
    """
    config, variance = config.copy_and_resolve_references(), dict(variance or {"name": "small"})
    if variance["name"] == "analytic_residual":
        variance["file"] = str(folder / "variance.npz")
    fields = {"predictor": predictor, "variance": variance, "grid": {"name": grid}, "steps": calls - 1}
    config.sampling.update(fields)
    config.eval.bound.variance.update(variance)
    if grid == "optimal":
        config.sampling.grid.file = str(folder / "optimal_grid.npz")
    return config


def draw_full_covariance(key, mixture, sde, times, count):
    """Samples [count, d] by ancestral steps with the whole of Cov[x_0 | x_t], the slope of the denoiser."""

    def mean(x, t):
        return mixture.denoise(sde, x[None], t[None]).x0[0]

    def moved(key, x, t, s):
        from_xt, from_x0, std = sde.posterior_coefficients(s, t)
        covariance = sde.sigma(t) ** 2 / sde.alpha(t) * jax.jacfwd(mean)(x, t)
        variances, axes = jnp.linalg.eigh((covariance + covariance.T) / 2)
        noise, own = jax.random.normal(key, (2, *x.shape))
        x0 = mean(x, t) + axes @ (jnp.sqrt(jnp.maximum(variances, 0)) * noise)
        return from_xt * x + from_x0 * x0 + std * own

    @jax.jit
    def step(keys, x, t, s):
        return jax.lax.map(lambda one: moved(*one, t, s), (keys, x), batch_size=1000)

    keys = jax.random.split(key, len(times))
    x = sde.prior_sample(keys[0], (count, mixture.dimension))
    times = jnp.asarray(times)
    for key, t, s in zip(keys[1:], times[:-1], times[1:], strict=True):
        x = step(jax.random.split(key, count), x, t, s)
    return np.asarray(mixture.denoise(sde, x, jnp.full(count, times[-1])).x0)


def rows_of(case, folder):
    """One row for each grid, number of calls and variance."""
    base = measured(case, folder)
    mixture = create(base).mixture
    draw = jax.jit(mixture.sample, static_argnums=1)
    exact = np.asarray(draw(root_key(1), REPEATS * COUNT))
    others = np.asarray(draw(root_key(2), REPEATS * COUNT))
    log_prob = jax.jit(mixture.log_prob)
    low = np.quantile(log_prob(exact), 0.01)
    pairs = list(zip(np.split(exact, REPEATS), np.split(others, REPEATS), strict=True))
    floors = [sliced_wasserstein(*pair) for pair in pairs]
    held_out = HeldOut({"image": np.asarray(draw(root_key(3), COUNT))}, lambda keys, x0: x0)
    for grid in GRIDS:
        for calls in CALLS:
            for name, (predictor, variance) in CHOICES.items():
                config = with_choice(base, folder, grid, calls, predictor, variance)
                experiment = create(config)
                samples = NumberedSamples(experiment, config.sampling)
                if variance is None:
                    sde, count = experiment.sde, REPEATS * COUNT
                    x = draw_full_covariance(root_key(4), mixture, sde, samples.times, count)
                else:
                    x = samples.draw(mixture, REPEATS * COUNT)
                parts = zip(np.split(exact, REPEATS), np.split(x, REPEATS), strict=True)
                distances = [sliced_wasserstein(*pair) for pair in parts]
                nats, error = np.nan, np.nan
                if predictor["name"] == "ancestral" and variance is not None:
                    nats, error = _bound(experiment, config, mixture, held_out, samples.times[::-1])
                yield {
                    "case": case,
                    "grid": grid,
                    "calls": calls,
                    "variance": name,
                    "nats_per_dim": nats,
                    "error": error,
                    "distance": np.mean(distances),
                    "spread": np.std(distances, ddof=1) / np.sqrt(REPEATS),
                    "floor": np.mean(floors),
                    "floor_spread": np.std(floors, ddof=1) / np.sqrt(REPEATS),
                    "off_data": float(np.mean(log_prob(x) < low)),
                    "variance_ratio": float(x.var(axis=0).sum() / exact.var(axis=0).sum()),
                }


def _bound(experiment, config, mixture, held_out, times):
    """(nats/dim, standard error) of the chain on the sampler's own levels, decoded from its lowest one."""
    found = bounds_in_nats(experiment, mixture, held_out, DensityDecoder(), config, times)["discrete_bound"]
    values = np.asarray(found.total, np.float64) / mixture.dimension
    return values.mean(), values.std() / np.sqrt(len(values))


def markdown(rows):
    """One table for each mixture; the best bound and the smallest distance of each column in bold."""
    lines = []
    for case in CASES:
        own = [row for row in rows if row["case"] == case]
        columns = [(grid, calls) for grid in GRIDS for calls in CALLS]
        lines += [
            f"\n{case}, floor of the distance {own[0]['floor']:.4f} ± {own[0]['floor_spread']:.4f}. In each "
            "cell: nats/dim; distance; share off the data; variance of the samples / of the data.\n",
            "| variance | " + " | ".join(f"{grid}, K = {calls}" for grid, calls in columns) + " |",
            "|---|" + "---|" * len(columns),
        ]
        for name in CHOICES:
            cells = []
            for column in columns:
                rivals = [row for row in own if (row["grid"], row["calls"]) == column]
                row = next(row for row in rivals if row["variance"] == name)
                best = np.nanmin([r["nats_per_dim"] for r in rivals])
                nats = "" if np.isnan(row["nats_per_dim"]) else f"{row['nats_per_dim']:.4f}"
                nats = f"**{nats}**" if row["nats_per_dim"] == best else nats
                distance = f"{row['distance']:.4f} ± {row['spread']:.4f}"
                if row["distance"] == min(r["distance"] for r in rivals):
                    distance = f"**{distance}**"
                off, ratio = f"{100 * row['off_data']:.1f}%", f"{row['variance_ratio']:.3f}"
                cells.append(f"{nats}; {distance}; {off}; {ratio}")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines).lstrip() + "\n"


def main():
    """Measures all of them and writes the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="docs")
    out, rows = Path(parser.parse_args().out), []
    out.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            for row in rows_of(case, Path(folder)):
                rows.append(row)
                print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    with (out / "reverse_variance.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (out / "reverse_variance.md").write_text(markdown(rows))


if __name__ == "__main__":
    main()
