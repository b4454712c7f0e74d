"""Error against network calls for every sampler, on data whose flow is known.

    python -m bench.error_by_calls [--quick] [--out docs]          (make bench-samplers)

Deterministic solvers start from common noise, in float64, and their denoised samples are compared with
the exact flow from the same noise (tolerance 1e-10) to sampling_t_min, denoised there: root mean square over
dimensions, then the median and the root mean square over noises. Stochastic ones are compared with exact
samples, by the sliced Wasserstein distance, beside its floor between two exact sets. Where the packages
diffusers and torch are installed, its schedulers run on the same denoiser from the same noise.
Writes samplers.csv, samplers_bench.md and samplers.png.
"""

import argparse
import csv
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import samplers
import sde_lib
from bench import diffusers_peers
from components import ConfigError
from configs import base, gaussian_mixture
from denoisers.mixtures import MIXTURES, Ring
from experiment import create
from metrics.sliced_wasserstein import sliced_wasserstein
from modes import calibrate
from reports.pictures import BLUE, ORANGE, pyplot
from samplers import calibration
from samplers.table import sample
from samplers.time_grids import Rho, VPTime
from sde_lib import probability_flow
from sde_lib.noise import example_keys, root_key


def samplers_figure(path, rows):
    """Median error against network calls, a panel for each case: the default, the fitted, others and peers.

    Args:
      rows: dicts with case, sampler, grid, nfe, median.
    """
    plt = pyplot()
    cases = list(dict.fromkeys(row["case"] for row in rows))[:4]
    figure, axes = plt.subplots(
        1, len(cases), figsize=(4.4 * len(cases), 4.4), layout="constrained", squeeze=False
    )

    def best(case, chosen):
        found = {}
        for row in rows:
            if row["case"] == case and chosen(row["sampler"]):
                found[row["nfe"]] = min(found.get(row["nfe"], np.inf), row["median"])
        return sorted(found.items())

    lines = [
        ("default", "default", "o-", BLUE, 2.2),
        ("fitted", "fitted to the model", "*", "#1a936f", 2.0),
        ("diffusers", "diffusers, best of all settings", "s--", ORANGE, 1.8),
    ]
    others = {
        "ddim": "DDIM, best grid",
        "edm (Heun)": "EDM Heun, best grid",
        "dpm_solver++ 2M": "DPM-Solver++(2M), best grid",
        "unipc 3": "UniPC-3, best grid",
    }
    for axis, case in zip(axes[0], cases, strict=True):
        for shade, (name, label) in zip(
            ("#cccccc", "#aaaaaa", "#888888", "#666666"), others.items(), strict=True
        ):
            points = best(case, lambda sampler, name=name: sampler == name)
            if points:
                axis.loglog(*zip(*points, strict=True), "-", color=shade, lw=1.2, label=label)
        for prefix, label, style, colour, width in lines:
            points = best(case, lambda sampler, prefix=prefix: sampler.split(" ")[0] == prefix)
            if points:
                size = 11 if prefix == "fitted" else 5
                axis.loglog(*zip(*points, strict=True), style, color=colour, lw=width, ms=size, label=label)
        ticks = sorted({row["nfe"] for row in rows if row["case"] == case})
        axis.set_xticks(ticks, [str(t) for t in ticks], minor=False)
        axis.minorticks_off()
        axis.set(title=case, xlabel="network calls (NFE)")
    axes[0][0].set_ylabel("median distance to the exact flow")
    axes[0][-1].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


CASES = (("ring", "vp"), ("digits", "vp"), ("ring", "edm"), ("digits", "edm"))


MORE_CASES = (("two_moons", "vp"), ("ring", "ve"), ("digits", "cosine"))


NFE = (5, 6, 8, 10, 15, 20, 30, 50, 100)


MORE_NFE = (5, 10, 20, 50)


STOCHASTIC_NFE = (10, 20, 50, 100)


FITTED_NFE = (5, 8, 10)


HISTORY = 9


# Fields of sampling.predictor.
DETERMINISTIC = {
    "ddim": {"name": "ddim"},
    "edm (Heun)": {"name": "edm"},
    "dpm_solver 2": {"name": "dpm_solver", "order": 2},
    "dpm_solver 3": {"name": "dpm_solver", "order": 3},
    "dpm_solver++ 2M": {"name": "dpm_solver++", "order": 2, "published": True},
    "dpm_solver++ 3M": {"name": "dpm_solver++", "order": 3},
    "dpm_solver++ 3M published": {
        "name": "dpm_solver++",
        "order": 3,
        "published": True,
    },
    "dpm_solver++ 2S": {"name": "dpm_solver++_single", "order": 2},
    "dpm_solver++ 3S": {"name": "dpm_solver++_single", "order": 3},
    "unipc 2": {"name": "unipc", "order": 2},
    "unipc 3": {"name": "unipc", "order": 3},
    "unipc 4": {"name": "unipc", "order": 4},
    "pndm": {"name": "pndm"},
    "deis 2": {"name": "deis", "order": 2},
    "deis 3": {"name": "deis", "order": 3},
}


GRIDS = ("uniform", "vp_time", "log_snr", "rho")


# Fields of sampling.
STOCHASTIC = {
    "default (deterministic)": {},
    "ancestral": {"predictor": {"name": "ancestral"}, "grid": {"name": "uniform"}},
    "ancestral, vp_time": {"predictor": {"name": "ancestral"}, "grid": {"name": "vp_time"}},
    "reverse_diffusion": {"predictor": {"name": "reverse_diffusion"}},
    "euler_maruyama": {"predictor": {"name": "euler_maruyama"}},
    "stochastic_heun": {"predictor": {"name": "stochastic_heun"}},
    "sde_dpm_solver++ 2": {"predictor": {"name": "sde_dpm_solver++", "order": 2}},
    "sde_dpm_solver++ 3": {"predictor": {"name": "sde_dpm_solver++", "order": 3}},
    "sa_solver": {"predictor": {"name": "sa_solver"}},
    "edm, churn 40": {"predictor": {"name": "edm", "churn": 40.0, "churn_min": 0.05, "churn_max": 50.0}},
    "restart": {"predictor": {"name": "restart"}},
}


# Fields of sampling.predictor, and the order in theory.
ORDERS = {
    "ddim": ({"name": "ddim"}, 1),
    "edm (Heun)": ({"name": "edm"}, 2),
    "dpm_solver 2": ({"name": "dpm_solver", "order": 2}, 2),
    "dpm_solver 3": ({"name": "dpm_solver", "order": 3}, 3),
    "dpm_solver++ 2S": ({"name": "dpm_solver++_single", "order": 2}, 2),
    "dpm_solver++ 3S": ({"name": "dpm_solver++_single", "order": 3}, 3),
    "dpm_solver++ 2M": (
        {"name": "dpm_solver++", "order": 2, "published": True},
        2,
    ),
    "dpm_solver++ 3M": ({"name": "dpm_solver++", "order": 3}, 3),
    "dpm_solver++ 3M published": (
        {"name": "dpm_solver++", "order": 3, "published": True},
        2,
    ),
    "unip 2": ({"name": "unipc", "order": 2, "unic": False}, 2),
    "unip 3": ({"name": "unipc", "order": 3, "unic": False}, 3),
    "unipc 1": ({"name": "unipc", "order": 1}, 2),
    "unipc 2": ({"name": "unipc", "order": 2}, 3),
    "unipc 3": ({"name": "unipc", "order": 3}, 4),
    "unipc 4": ({"name": "unipc", "order": 4}, 5),
    "deis 1": ({"name": "deis", "order": 1}, 2),
    "deis 2": ({"name": "deis", "order": 2}, 3),
    "deis 3": ({"name": "deis", "order": 3}, 4),
    "adams 3": ({"name": "adams", "order": 3}, 3),
    "adams 3, 4": ({"name": "adams", "order": 3, "corrector_order": 4}, 4),
}


class Case:
    """A mixture and a process in float64: noise, where the exact flow leads, and the loop compiled once."""

    def __init__(self, mixture, sde, count):
        self.name = f"{getattr(mixture, 'name', mixture)}, {sde}"
        self.sde = sde_lib.SDES[sde]()
        self.mixture = (MIXTURES[mixture]() if isinstance(mixture, str) else mixture).build()
        shape = self.mixture.shape
        self.start = self.sde.prior_std * np.random.default_rng(0).standard_normal((count, *shape))
        ends = (self.sde.t_max, self.sde.sampling_t_min)

        def solve(x):
            return probability_flow.solve(self.sde, self.denoise, x, ends, 1e-10, "dopri8", max_steps=20_000)

        end = jax.jit(jax.vmap(solve))(jnp.asarray(self.start))
        assert not end.failed.any(), "the reference solution failed"
        last = jnp.full(count, self.sde.sampling_t_min)
        self.exact = np.asarray(jax.jit(self.denoise)(end.x, last).x0)
        keys = jax.random.split(root_key(0), count)
        self._compiled = set()
        self._loop = jax.jit(lambda table, x: sample(keys, self.sde, self.denoise, shape, table, start=x).x)

    def denoise(self, x, t):
        return self.mixture.denoise(self.sde, x, t)

    def run(self, table):
        """(samples, seconds without compilation)."""
        table = padded(table)
        if (table.rows, table.history) not in self._compiled:
            jax.block_until_ready(self._loop(table, self.start))
            self._compiled.add((table.rows, table.history))
        begin = time.perf_counter()
        x = np.asarray(self._loop(table, self.start))
        return x, time.perf_counter() - begin

    def errors(self, x):
        """Median and root mean square over noises of the distance to the exact flow."""
        distance = np.sqrt(((x - self.exact) ** 2).reshape(len(x), -1).mean(axis=1))
        return float(np.median(distance)), float(np.sqrt(np.mean(distance**2)))


def padded(table):
    """The same table with room for HISTORY predictions, so that one compilation serves all of its rows."""
    extra = max(HISTORY - table.history, 0)

    def pad(a):
        return np.concatenate([a, np.zeros((*a.shape[:-1], extra))], axis=-1)

    return table.replace(move=pad(table.move), look=pad(table.look), closing_move=pad(table.closing_move))


def table_of(fields, sde):
    """The Table that fields of `sampling` give, or None where they are refused."""
    config = base.get_config().sampling
    config.update({**fields, "largest_bias": None})
    try:
        return samplers.create(config, sde).table
    except ConfigError:
        return None


def deterministic(case, budgets):
    """Rows of our deterministic solvers on every grid, and of the default."""
    choices = [("default", "", {})]
    for name, predictor in DETERMINISTIC.items():
        choices += [(name, grid, {"predictor": predictor, "grid": {"name": grid}}) for grid in GRIDS]
    for name, grid, fields in choices:
        for nfe in budgets:
            table = table_of({**fields, "nfe": nfe}, case.sde)
            if table is not None:
                x, seconds = case.run(table)
                yield name, grid, nfe, table.rows, *case.errors(x), seconds


def fitted_rows(mixture, sde, case, budgets, noises):
    """Rows of solvers fitted to the case, on noises that the fit has not seen."""
    config = gaussian_mixture.get_config(f"{mixture},{sde}")
    config.calibration.noises = noises
    with jax.enable_x64(False):
        experiment = create(config)
        params = experiment.denoiser.init()
        problem = calibration.Problem(experiment.sde, experiment.denoiser, params, experiment.shape, 256)
        solver, grid = calibration.fine_solver()
        fine = solver(experiment.sde, grid(experiment.sde, 200)).astype(np.float32)
        parts = []
        for purpose in ("calibration", "calibration held out"):
            x = calibrate.noises(experiment, purpose, noises)
            parts.append((x, problem.solve(fine, x)))
        tables = {}
        for calls in budgets:
            found, form, _ = calibration.fit_calls(problem, calls, *parts, starts=2)
            tables[calls] = calibration.float64_table(found.theta, form, experiment.sde)
    for calls, table in tables.items():
        x, seconds = case.run(table)
        yield "fitted", "fitted", calls, calls, *case.errors(x), seconds


def levels_of(sde):
    """Pairs (label, [LEVELS] increasing sigma / alpha) that the peers' tables may hold.

    A process on [0, 1] has its own integer levels. EDM has not: those of the linear VP SDE, its rho levels,
    and, which nobody ships, those of our own grid.
    """
    count = diffusers_peers.LEVELS
    if sde.t_max == 1:
        grids = {"": np.linspace(1, 1 / count, count)}
    else:
        grids = {
            "": VPTime(1.0)(sde, count - 1),
            ", rho levels": Rho()(sde, count - 1),
            ", our levels": VPTime(3.0)(sde, count - 1),
        }
    for label, times in grids.items():
        t = jnp.asarray(times[::-1].copy())
        yield label, np.asarray(sde.sigma(t) / sde.alpha(t))


def peers(case, budgets):
    """Rows of the schedulers of diffusers."""
    y = case.start / float(case.sde.alpha(jnp.float64(case.sde.t_max)))
    edm = sde_lib.SDES["edm"]()
    call = jax.jit(lambda y, r: case.mixture.denoise(edm, y, jnp.full(len(y), r)).x0)

    def denoise(y, r):
        return np.asarray(call(y, r))

    for label, r in levels_of(case.sde):
        for name, setting in diffusers_peers.settings().items():
            for nfe in budgets:
                x = diffusers_peers.best_within(setting, nfe, r, y, denoise)
                if x is not None:
                    yield f"diffusers {name}{label}", "", nfe, nfe, *case.errors(x), float("nan")


def stochastic(case, budgets, count):
    """Rows (name, nfe, calls, distance, floor) of samples against exact ones, in float32."""
    with jax.enable_x64(False):
        mixture = case.mixture.astype(np.float32)
        keys = example_keys(root_key(1), jnp.arange(count))
        exact = [
            np.asarray(jax.jit(mixture.sample, static_argnums=1)(root_key(seed), count)) for seed in (2, 3)
        ]
        floor = sliced_wasserstein(*exact)

        def denoise(x, t):
            return mixture.denoise(case.sde, x, t)

        loop = jax.jit(lambda keys, table: sample(keys, case.sde, denoise, mixture.shape, table).x)
        for name, fields in STOCHASTIC.items():
            for nfe in budgets:
                table = table_of({**fields, "nfe": nfe}, case.sde)
                if table is not None:
                    x = np.asarray(loop(keys, padded(table).astype(np.float32)))
                    yield name, nfe, table.rows, sliced_wasserstein(exact[0], x), floor


def orders(quick):
    """Rows (solver, theory, then for each process the fitted orders with single-step and default start)."""
    names = ("vp",) if quick else ("vp", "ve", "edm")
    cases = {sde: Case(Ring(components=3, spread=0.6), sde, 64) for sde in names}
    steps = 64 if quick else 128
    for name, (predictor, order) in ORDERS.items():
        row = {}
        for sde, case in cases.items():
            for start in ("single_step", "lower_order"):
                errors = []
                for count in (steps, 2 * steps):
                    own = dict(predictor)
                    if "start" in samplers.SOLVERS[own["name"]].__dataclass_fields__:
                        own["start"] = start
                    fields = {"predictor": own, "grid": {"name": "rho"}, "steps": count}
                    errors.append(case.errors(case.run(table_of(fields, case.sde))[0])[1])
                row[sde, start] = float(np.log2(errors[0] / errors[1]))
        yield name, order, row


def best_peer(rows, case, nfe, column):
    """(error, name) of the best scheduler of diffusers at a budget."""
    found = [
        (row[column], row["sampler"])
        for row in rows
        if row["case"] == case and row["nfe"] == nfe and row["sampler"].startswith("diffusers")
    ]
    return min(found) if found else (float("nan"), "-")


def ratios(row, median, rms, bar):
    """The errors over the peer's, the median's bold where it misses the bar."""
    ratio = f"{row['median'] / median:.2f}"
    return f"{ratio if row['median'] <= bar * median else f'**{ratio}**'} ({row['rms'] / rms:.2f})"


def report(rows, stochastic_rows, order_rows, version, noises):
    """The Markdown tables."""
    lines = [
        "# Samplers: error against network calls",
        "",
        f"Made by `make bench-samplers`: {noises} noises, float64. Peer: {version or 'none'}.",
        "Distance of the denoised samples to the exact flow from the same noise: median over noises (root",
        "mean square). Ratios are to the best of all schedulers and settings of the peer at that budget,",
        "best by median and by root mean square each by itself; below 1 ours is more accurate. Bold: a",
        "default less accurate than the peer, a fitted solver not five times as accurate. EDM has no integer",
        "levels for the peer's tables: it runs on those of the linear VP SDE, on the rho levels of EDM, and",
        "on levels spaced as our own grid is ('our levels'), which nobody ships.",
    ]
    for case in dict.fromkeys(row["case"] for row in rows):
        lines += [
            "",
            f"## {case}",
            "",
            "| calls | default | best of the peer | by | ratio | fitted | ratio | best of our others |",
            "|---:|---:|---:|---|---:|---:|---:|---|",
        ]
        for nfe in dict.fromkeys(row["nfe"] for row in rows if row["case"] == case):
            here = [row for row in rows if row["case"] == case and row["nfe"] == nfe]
            default = next(row for row in here if row["sampler"] == "default")
            fit = next((row for row in here if row["sampler"] == "fitted"), None)
            others = [
                row
                for row in here
                if row["sampler"] not in ("default", "fitted") and not row["sampler"].startswith("diffusers")
            ]
            other = min(others, key=lambda row: row["median"])
            (median, name), (rms, _) = (best_peer(rows, case, nfe, column) for column in ("median", "rms"))
            ratio = ratios(default, median, rms, 1.0)
            cells = ["-", "-"]
            if fit:
                cells = [
                    f"{fit['median']:.2e} ({fit['rms']:.2e})",
                    ratios(fit, median, rms, 0.2),
                ]
            lines.append(
                f"| {nfe} | {default['median']:.2e} ({default['rms']:.2e}) | {median:.2e} ({rms:.2e}) | "
                f"{name.removeprefix('diffusers ')} | {ratio} | {cells[0]} | {cells[1]} | "
                f"{other['sampler']}, {other['grid']}: {other['median']:.2e} |"
            )
    lines += [
        "",
        "## Stochastic samplers",
        "",
        "Sliced Wasserstein distance to exact samples; the floor is that between two exact sets.",
    ]
    for case in dict.fromkeys(row["case"] for row in stochastic_rows):
        here = [row for row in stochastic_rows if row["case"] == case]
        budgets = list(dict.fromkeys(row["nfe"] for row in here))
        lines += [
            "",
            f"### {case} (floor {here[0]['floor']:.4f})",
            "",
            "| sampler | " + " | ".join(map(str, budgets)) + " |",
            "|---|" + "---:|" * len(budgets),
        ]
        for name in dict.fromkeys(row["sampler"] for row in here):
            values = {row["nfe"]: row["distance"] for row in here if row["sampler"] == name}
            shown = [f"{values[nfe]:.4f}" if nfe in values else "-" for nfe in budgets]
            lines.append(f"| {name} | " + " | ".join(shown) + " |")
    lines += [
        "",
        "## Orders of convergence",
        "",
        "Smooth mixture, grid rho, steps doubled; with a start by single steps of the same order,",
        "and in brackets with the default start.",
        "",
    ]
    names = list(dict.fromkeys(sde for sde, _ in order_rows[0][2]))
    lines += [f"| solver | theory | {' | '.join(names)} |", "|---|---:|" + "---:|" * len(names)]
    for name, order, row in order_rows:
        cells = [f"{row[sde, 'single_step']:.2f} ({row[sde, 'lower_order']:.2f})" for sde in names]
        lines.append(f"| {name} | {order} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    """Runs everything and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute's version: two cases, few budgets")
    parser.add_argument("--out", default="docs", help="folder of the results")
    arguments = parser.parse_args()
    quick = arguments.quick
    noises = 64 if quick else 256
    cases = CASES[:1] if quick else CASES
    budgets = (5, 10, 20) if quick else NFE
    version = diffusers_peers.available()
    rows, stochastic_rows = [], []
    with jax.enable_x64(True):
        for mixture, sde in (*cases, *(() if quick else MORE_CASES)):
            begin = time.monotonic()
            case = Case(mixture, sde, noises)
            chosen_on = (mixture, sde) in cases
            here = budgets if chosen_on else MORE_NFE
            parts = [deterministic(case, here)]
            if version:
                parts.append(peers(case, here))
            if chosen_on:
                parts.append(fitted_rows(mixture, sde, case, FITTED_NFE[:1] if quick else FITTED_NFE, noises))
            for part in parts:
                for name, grid, nfe, calls, median, rms, seconds in part:
                    rows.append(
                        dict(
                            case=case.name,
                            sampler=name,
                            grid=grid,
                            nfe=nfe,
                            calls=calls,
                            median=median,
                            rms=rms,
                            seconds=seconds,
                        )
                    )
                print(f"  {name}: {time.monotonic() - begin:.0f} s", flush=True)
            if chosen_on:
                for name, nfe, calls, distance, floor in stochastic(
                    case, (20,) if quick else STOCHASTIC_NFE, 2_000
                ):
                    stochastic_rows.append(
                        dict(
                            case=case.name, sampler=name, nfe=nfe, calls=calls, distance=distance, floor=floor
                        )
                    )
            print(f"{case.name}: {time.monotonic() - begin:.0f} s", flush=True)
        order_rows = list(orders(quick))
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "samplers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=[*rows[0], "distance", "floor"], lineterminator="\n")
        writer.writeheader()
        for row in (*rows, *stochastic_rows):
            writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
    text = report(rows, stochastic_rows, order_rows, version, noises)
    (out / "samplers_bench.md").write_text(text)
    samplers_figure(out / "samplers.png", rows)
    print(text)
    print(f"wrote samplers.csv, samplers_bench.md and samplers.png to {out}")


if __name__ == "__main__":
    main()
