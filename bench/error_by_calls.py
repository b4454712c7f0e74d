"""Error against network calls for every sampler, on data whose flow is known.

    python -m bench.error_by_calls [--quick] [--out docs] [--peers FILE]         (make bench-samplers)

Deterministic solvers start from common noise, in float64, and their denoised samples are compared with
the exact flow from the same noise (tolerance 1e-10) to sampling_t_min, denoised there: root mean square over
dimensions, then over noises the median, the root mean square without the worst 2% (RMS_98), and the part of
noises that flip to another mode. The default is chosen on bench.mixtures.CHOICE (bench/choose_default.py) and
checked on CHECK. Stochastic samplers are compared with exact samples, by the sliced Wasserstein distance,
beside its floor between two exact sets. Where the packages diffusers and torch are installed, its schedulers
run on the same denoiser from the same noise; FILE holds figures of other programs, {case: {calls: {sampler:
[median, rms_98, flips, rms]}}} as JSON. Writes samplers.csv, samplers_bench.md and samplers.png.
"""

import argparse
import csv
import functools
import itertools
import json
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import samplers
from bench import diffusers_peers
from bench.cases import Case, Figures, calls_of
from bench.mixtures import CHECK, CHOICE, noises_for
from components import ConfigError
from configs import base
from denoisers.gaussian_mixture import ExactDenoiser
from denoisers.mixtures import Ring
from metrics.sliced_wasserstein import sliced_wasserstein
from reports.pictures import BLUE, ORANGE, pyplot
from samplers import calibration
from samplers.table import sample
from samplers.time_grids import Rho, VPTime
from sde_lib.noise import example_keys, normal, root_key


def samplers_figure(path, rows):
    """RMS_98 against network calls, a panel for each case: the default, the fitted, others and peers.

    Args:
      rows: dicts with case, sampler, peer, nfe, rms_98.
    """
    plt = pyplot()
    shown = [f"{mixture}, {sde}" for mixture, sde in FIGURE]
    cases = [case for case in shown if case in {row["case"] for row in rows}]
    figure, axes = plt.subplots(
        1, len(cases), figsize=(4.4 * len(cases), 4.4), layout="constrained", squeeze=False
    )

    def best(case, chosen):
        found = {}
        for row in rows:
            if row["case"] == case and chosen(row):
                found[row["nfe"]] = min(found.get(row["nfe"], np.inf), row["rms_98"])
        return sorted(found.items())

    lines = [
        (lambda row: row["sampler"] == "default", "default", "o-", BLUE, 2.2, 5),
        (lambda row: row["sampler"] == "fitted", "fitted to the model", "*", "#1a936f", 2.0, 11),
        (lambda row: row["peer"], "best of all settings of other programs", "s--", ORANGE, 1.8, 5),
    ]
    for axis, case in zip(axes[0], cases, strict=True):
        for chosen, label, style, colour, width, size in lines:
            points = best(case, chosen)
            if points:
                axis.loglog(*zip(*points, strict=True), style, color=colour, lw=width, ms=size, label=label)
        ticks = [5, 8, 12, 20, 30, 50, 100]
        axis.set_xticks(ticks, [str(t) for t in ticks], minor=False)
        axis.minorticks_off()
        axis.set(title=case, xlabel="network calls (NFE)")
    axes[0][0].set_ylabel("RMS distance to the exact flow, without the worst 2%")
    named = {
        label: handle
        for axis in axes[0]
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    axes[0][-1].legend(named.values(), named, frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


FIGURE = (("digits", "vp"), ("layered 48-D", "vp"), ("spiral", "edm"), ("sheet 16-D", "cosine"))


# Pairs (mixture, process): on the first the default was chosen, the second it has not seen.
SEEN = tuple(itertools.product(CHOICE, ("vp", "edm")))


UNSEEN = tuple(itertools.product(CHECK, ("vp", "ve", "edm", "cosine")))


# Where every other sampler is run too, and solvers are fitted.
DETAILED = tuple(itertools.product(("ring", "digits"), ("vp", "edm")))


FITTED_ON = (
    *itertools.product(("spiral", "two_moons", "layered 48-D", "power_law 64-D"), ("vp",)),
    *itertools.product(("spiral", "layered 48-D"), ("edm",)),
)


NFE = (5, 6, 8, 10, 12, 15, 20, 25, 26, 30, 35, 50, 100)


STOCHASTIC_NFE = (10, 20, 50, 100)


FITTED_NFE = (5, 10)


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


def table_of(fields, sde, shape):
    """The Table that fields of `sampling` give for samples of a shape, or None where they are refused."""
    config = base.get_config().sampling
    config.update({**fields, "largest_bias": None})
    try:
        return samplers.create(config, sde, shape=shape).table
    except ConfigError:
        return None


def deterministic(case, budgets, choices):
    """Rows of our deterministic solvers: `choices` are triples (name, grid, fields of `sampling`)."""
    for name, grid, fields in choices:
        for nfe in budgets:
            table = table_of({**fields, "nfe": nfe}, case.sde, case.mixture.shape)
            if table is not None:
                (x,) = case.run([calls_of(table, case.sde)])
                yield name, grid, nfe, table.rows, case.figures(x)


DEFAULT = [("default", "", {})]


def others():
    """Our other deterministic solvers on every grid, for `deterministic`."""
    for (name, predictor), grid in itertools.product(DETERMINISTIC.items(), GRIDS):
        yield name, grid, {"predictor": predictor, "grid": {"name": grid}}


def fitted_rows(case, budgets, count):
    """Rows of solvers fitted to the case, on noises that the fit has not seen."""
    with jax.enable_x64(False):
        denoiser = ExactDenoiser(case.sde, case.mixture.astype(np.float32))
        problem = calibration.Problem(
            case.sde,
            lambda params, x, t, label: denoiser.bind(params, label)(x, t),
            denoiser.init(),
            case.mixture.shape,
            256,
        )
        solver, grid = calibration.fine_solver()
        fine = solver(case.sde, grid(case.sde, 200)).astype(np.float32)
        starts = [noises_of(case, seed, count) for seed in (1, 2)]
        parts = [(noises, problem.solve(fine, noises)) for noises in starts]
        tables = {}
        for calls in budgets:
            begin = time.monotonic()
            found = calibration.fit_calls(problem, calls, *parts)
            tables[calls] = calibration.float64_table(found.fit.theta, found.form, case.sde)
            print(f"  fitted, {calls} calls: {time.monotonic() - begin:.0f} s", flush=True)
    for calls, table in tables.items():
        (x,) = case.run([calls_of(table, case.sde)])
        yield "fitted", "fitted", calls, calls, case.figures(x)


def noises_of(case, seed, count):
    """Noises at t_max for a fit, none of those of the Case."""
    keys = example_keys(root_key(seed), jnp.arange(count))
    return calibration.Noises(np.asarray(case.sde.prior_std * normal(keys, case.mixture.shape), np.float32))


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


@functools.cache
def schedulers(sde, nfe):
    """{name: Calls} of all schedulers and settings of diffusers on a process, with at most so many calls."""
    found = {}
    for label, r in levels_of(sde):
        for name, setting in diffusers_peers.settings().items():
            calls = diffusers_peers.recorded(setting, nfe, r, sde)
            if calls is not None:
                found[f"diffusers {name}{label}"] = calls
    return found


def peers(case, budgets):
    """Rows of the schedulers of diffusers."""
    for nfe in budgets:
        by_count = {}
        for name, calls in schedulers(case.sde, nfe).items():
            by_count.setdefault(len(calls.times), []).append((name, calls))
        for count, group in by_count.items():
            for (name, _), x in zip(group, case.run([calls for _, calls in group]), strict=True):
                yield name, "", nfe, count, case.figures(x)


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
                table = table_of({**fields, "nfe": nfe}, case.sde, case.mixture.shape)
                if table is not None:
                    x = np.asarray(loop(keys, table.astype(np.float32)))
                    yield name, nfe, table.rows, sliced_wasserstein(exact[0], x), floor


def orders(quick):
    """Rows (solver, theory, then for each process the fitted orders with single-step and default start)."""
    names = ("vp",) if quick else ("vp", "ve", "edm")
    cases = {sde: Case("smooth ring", Ring(components=3, spread=0.6).build(), sde, 64) for sde in names}
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
                    (x,) = case.run([calls_of(table_of(fields, case.sde, case.mixture.shape), case.sde)])
                    errors.append(case.figures(x).rms)
                row[sde, start] = float(np.log2(errors[0] / errors[1]))
        yield name, order, row


def best_peer(rows, case, nfe, column):
    """The row of the best sampler of other programs at a budget, or None."""
    found = [row for row in rows if row["case"] == case and row["nfe"] == nfe and row["peer"]]
    return min(found, key=lambda row: row[column], default=None)


class Ratios(NamedTuple):
    """A sampler's figures over those of the best of other programs, each column's best by itself.

    Attributes:
      median, rms_98: ratios; flips: difference of the parts, to the peer with the best rms_98.
      missed: whether the default misses what it should reach.
    """

    median: float
    rms_98: float
    flips: float
    missed: bool


def ratios(rows, row):
    """The Ratios of a row, or None where no other program ran."""
    case, nfe = row["case"], row["nfe"]
    by_median, by_rms = (best_peer(rows, case, nfe, column) for column in ("median", "rms_98"))
    if by_median is None:
        return None
    median, rms_98 = row["median"] / by_median["median"], row["rms_98"] / by_rms["rms_98"]
    flips = row["flips"] - by_rms["flips"]
    most_rms, most_median = (1, 1.5 if nfe < 15 else 1) if nfe < 30 else (0.5, 0.5)
    return Ratios(median, rms_98, flips, rms_98 > most_rms or median > most_median or flips > 0)


def ratio_table(rows, cases, sampler):
    """Lines: the Ratios of a sampler on cases, a column for each number of calls."""
    budgets = sorted({row["nfe"] for row in rows if row["sampler"] == sampler and row["case"] in cases})
    yield f"| | {' | '.join(map(str, budgets))} |"
    yield "|---|" + "---:|" * len(budgets)
    for case in cases:
        cells = []
        for nfe in budgets:
            row = next((r for r in rows if (r["case"], r["sampler"], r["nfe"]) == (case, sampler, nfe)), None)
            found = ratios(rows, row) if row else None
            if found is None:
                cells.append("")
                continue
            text = f"{found.rms_98:.2f}, {found.median:.2f}"
            text += f", {100 * found.flips:+.1f}%" if found.flips > 0 else ""
            cells.append(f"**{text}**" if found.missed and sampler == "default" else text)
        yield f"| {case} | {' | '.join(cells)} |"


def detail_table(rows, case):
    """Lines: the figures of the default, of the best of other programs and of our others on a case."""
    yield "| calls | default | flips | best of other programs | by | flips | best of our others |"
    yield "|---:|---:|---:|---:|---|---:|---|"
    for nfe in dict.fromkeys(row["nfe"] for row in rows if row["case"] == case):
        here = [row for row in rows if row["case"] == case and row["nfe"] == nfe]
        default = next((row for row in here if row["sampler"] == "default"), None)
        if default is None:
            continue
        peer = best_peer(rows, case, nfe, "rms_98")
        ours = [row for row in here if row["sampler"] not in ("default", "fitted") and not row["peer"]]
        cells = [f"{default['rms_98']:.2e} ({default['median']:.2e})", f"{default['flips']:.1%}"]
        cells += (
            [f"{peer['rms_98']:.2e} ({peer['median']:.2e})", peer["sampler"], f"{peer['flips']:.1%}"]
            if peer
            else ["", "", ""]
        )
        other = min(ours, key=lambda row: row["rms_98"], default=None)
        cells.append(f"{other['sampler']}, {other['grid']}: {other['rms_98']:.2e}" if other else "")
        yield f"| {nfe} | {' | '.join(cells)} |"


def report(rows, stochastic_rows, order_rows, programs, noises):
    """The Markdown tables."""

    def named(pairs):
        found = {row["case"] for row in rows}
        return [name for name in (f"{mixture}, {sde}" for mixture, sde in pairs) if name in found]

    lines = [
        "# Samplers: error against network calls",
        "",
        f"Made by `make bench-samplers`: {noises} noises (64 of images), float64. Other programs:",
        f"{programs}.",
        "Distance of the denoised samples to the exact flow from the same noise: root mean square over the",
        "noises without the worst 2% (RMS_98), and the median. Cells: the ratio of RMS_98, then that of the",
        "median, to the best of all samplers and settings of the other programs for that data and number of",
        "calls, the best by each figure by itself; below 1 ours is more accurate. A third number says by how",
        "much more of the noises end in another mode than the exact flow, compared with the best by RMS_98.",
        "Bold: a ratio of RMS_98 above 1, of the median above 1.5 (from 15 calls on above 1), either above",
        ".5 from 30 calls on, or more flips.",
        "",
        "## The default, on data that the choice has not seen",
        "",
        *ratio_table(rows, named(UNSEEN), "default"),
        "",
        "## The default, on the data it was chosen on",
        "",
        *ratio_table(rows, named(SEEN), "default"),
        "",
        "## Fitted to the model",
        "",
        *ratio_table(rows, named(FITTED_ON), "fitted"),
    ]
    for case in named((*UNSEEN, *SEEN)):
        lines += ["", f"## {case}: RMS_98 (median)", "", *detail_table(rows, case)]
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


def measured(case, pair, budgets, fitted_budgets, elsewhere):
    """Rows, as dicts, of all deterministic samplers on a case.

    Args:
      elsewhere: figures of other programs that were measured elsewhere, {calls: {sampler: figures}}.
    """
    parts = [(deterministic(case, budgets, DEFAULT), False)]
    if pair in DETAILED:
        parts.append((deterministic(case, budgets, list(others())), False))
    if diffusers_peers.available():
        parts.append((peers(case, budgets), True))
    if pair in FITTED_ON:
        parts.append((fitted_rows(case, fitted_budgets, 2 * len(case.start)), False))
    for part, peer in parts:
        for name, grid, nfe, calls, figures in part:
            yield dict(
                case=case.name, sampler=name, grid=grid, nfe=nfe, calls=calls, peer=peer, **figures._asdict()
            )
    for nfe, found in elsewhere.items():
        for name, figures in found.items():
            row = dict(case=case.name, sampler=name, grid="", nfe=int(nfe), calls=int(nfe), peer=True)
            yield {**row, **Figures(*figures)._asdict()}


def main():
    """Runs everything and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute's version: two cases, few budgets")
    parser.add_argument("--out", default="docs", help="folder of the results")
    parser.add_argument("--peers", help="JSON file with figures of other programs")
    arguments = parser.parse_args()
    quick = arguments.quick
    elsewhere = json.loads(Path(arguments.peers).read_text()) if arguments.peers else {}
    pairs = (DETAILED[0], UNSEEN[0]) if quick else (*SEEN, *UNSEEN)
    rows, stochastic_rows = [], []
    with jax.enable_x64(True):
        for mixture, sde in pairs:
            begin = time.monotonic()
            build = {**CHOICE, **CHECK}[mixture]
            case = Case(mixture, build(), sde, 64 if quick else noises_for(mixture))
            rows += measured(
                case,
                (mixture, sde),
                (5, 10, 20) if quick else NFE,
                FITTED_NFE[:1] if quick else FITTED_NFE,
                elsewhere.get(case.name, {}),
            )
            if (mixture, sde) in DETAILED:
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
    programs = ", ".join(filter(None, [diffusers_peers.available(), elsewhere.get("programs")])) or "none"
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "samplers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=[*rows[0], "distance", "floor"], lineterminator="\n")
        writer.writeheader()
        for row in (*kept(rows), *stochastic_rows):
            writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
    text = report(rows, stochastic_rows, order_rows, programs, 64 if quick else 256)
    (out / "samplers_bench.md").write_text(text)
    samplers_figure(out / "samplers.png", rows)
    print(text)
    print(f"wrote samplers.csv, samplers_bench.md and samplers.png to {out}")


def kept(rows):
    """The rows without those of other programs that are best by neither figure for their number of calls."""
    best = {
        id(best_peer(rows, row["case"], row["nfe"], column))
        for row in rows
        for column in ("median", "rms_98")
        if row["sampler"] == "default"
    }
    return [row for row in rows if not row["peer"] or id(row) in best]


if __name__ == "__main__":
    main()
