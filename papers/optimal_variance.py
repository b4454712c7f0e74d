"""The tables of Analytic-DPM and its extensions, scaled down to data that ships with the project.

    python -m papers.optimal_variance [--data digits] [--runs runs/optimal_variance] [--out docs]

One network is trained on a process that covers the noise levels of both schedules, conditioned on log sigma,
and three variance heads on top of it (Bao et al. 2022a, tables 1 and 2; Bao et al. 2022b; Ou et al. 2024).
Then each method draws samples and bounds the likelihood of held-out images with K of the 1,000 levels of the
linear and of the cosine schedule. Writes optimal_variance_<data>.md and .png. What a killed run finished is
not done again.
"""

import argparse
import json
import logging
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

import data
from components import UserError
from configs import digits
from denoisers.variance import MOMENTS_FILE
from evaluation.bounds import network_bounds, sampled_levels
from evaluation.held_out import subset
from experiment import create, data_of, load
from experiment.draw import NumberedSamples
from metrics.neighbours import one_nearest_neighbour
from metrics.sliced_wasserstein import sliced_wasserstein
from modes import train, variance
from reports.pictures import GREY, pyplot
from training.frozen_network import below
from workdir.files import checksum, read_measured, write_json
from workdir.records import say

CALLS = (10, 25, 50, 100, 200, 1000)


SCHEDULES = {"linear": "ddpm", "cosine": "iddpm"}


class Method(NamedTuple):
    """A row of the tables.

    Attributes:
      predictor, variance: names of the groups in `sampling`.
      head: denoiser.variance_head of the network that it takes, None for the plain one.
      has_bound: whether it samples a chain whose likelihood has a bound.
    """

    predictor: str
    variance: str
    head: str | None = None
    has_bound: bool = True


METHODS = {
    "DDPM, small": Method("ancestral", "small"),
    "DDPM, large": Method("ancestral", "large"),
    "Analytic-DDPM": Method("ancestral", "analytic"),
    "NPR-DDPM": Method("ancestral", "predicted", "residual"),
    "SN-DDPM": Method("ancestral", "predicted", "second_moment"),
    "OCM-DDPM": Method("ancestral", "predicted", "covariance"),
    "Jacobian-DDPM": Method("ancestral", "jacobian"),
    "DDIM": Method("ddim", "small", has_bound=False),
    "Analytic-DDIM": Method("ddim", "analytic", has_bound=False),
}


HEADS = ("residual", "second_moment", "covariance")


def base_config(arguments):
    """The config of the network, trained without dequantization as in the papers."""
    config = digits.get_config()
    config.data.source = arguments.data
    config.data.dequantize = False
    config.sde.update({"name": "cosine", "log_snr_max": 12.0, "log_snr_min": -20.0})
    config.denoiser.update({"parametrization": "eps", "noise_input": "log_sigma"})
    config.training.update({"steps": arguments.steps, "eval_every": 0, "sample_every": 0})
    config.checkpoint.every = 1000
    config.ema.decays = (0.9995,)
    config.sampling.update({"corrector": {"name": "none"}, "threshold": {"name": "data_range"}})
    config.sampling.largest_bias = None
    config.sampling.batch_size = 256
    config.variance.update({"levels": 200, "examples": arguments.examples})
    config.model.width = arguments.width
    data.resolve(config.data, data.create(config.data, "train", decoded=False))
    # Halved until at most 8 pixels are left, with attention there.
    halvings = max(1, math.ceil(math.log2(config.data.image_size / 8)))
    config.model.multipliers = (1,) + (2,) * halvings
    config.model.attention = (-(-config.data.image_size // 2**halvings),)
    return config


def trained(arguments):
    """The Run by head, None for the plain network; and the file of the analytic estimate.

    Raises:
      UserError: a head was trained on another network.
    """
    runs = Path(arguments.runs)
    configs = {None: (base_config(arguments), runs / "network")}
    for head in HEADS:
        config = base_config(arguments)
        config.denoiser.variance_head = head
        config.loss.variance_weight = 1.0
        config.training.update({"network_from": str(runs / "network"), "steps": arguments.head_steps})
        configs[head] = (config, runs / head)
    for config, workdir in configs.values():
        if not train.run(config, workdir):
            raise SystemExit(0)
    loaded = {head: load(workdir, config) for head, (config, workdir) in configs.items()}
    network = checksum(loaded[None].params)
    for head in HEADS:
        if checksum(below(loaded[head].params)) != network:
            raise UserError(f"{runs / head} was trained on another network. Delete that folder.")
    config, workdir = configs[None]
    found = workdir / "variance.npz"
    origin = {}
    if found.exists():
        origin = read_measured(found, MOMENTS_FILE, "sampling.variance.file").origin
    count = min(arguments.examples, len(data.create(config.data, "train", decoded=False)))
    if (origin.get("parameters"), origin.get("examples")) != (network, count):
        variance.run(config, workdir)
    return loaded, found


def of_method(config, method, schedule, steps, variance_file, probes):
    """The config of one cell of the table; its `eval` bounds the ancestral chain on the same levels."""
    predictor, choice = method.predictor, method.variance
    config = config.copy_and_resolve_references()
    for field in config.sde:
        config.sde[field] = None
    config.sde.name = SCHEDULES[schedule]
    config.sampling.update({"predictor": {"name": predictor}, "grid": {"name": "even"}, "steps": steps - 1})
    if predictor == "ddim":
        config.sampling.predictor.eta = 0.0
    of_step = {"name": choice}
    if choice == "analytic":
        of_step["file"] = str(variance_file)
    if choice == "jacobian":
        of_step["probes"] = probes
    config.sampling.variance.update(of_step)
    if choice != "small":
        # Grey levels in place of 1/255: 2 for the linear schedule's DDPM, else 1 (Bao et al. 2022a).
        pixels = 2 if (predictor, schedule) == ("ancestral", "linear") else 1
        config.sampling.variance.pixels = pixels * 255 / (config.data.pixel_values - 1)
    config.eval.evaluators = ("discrete_bound",)
    config.eval.bound.update({"grid": "sampling", "decoder": "pixels", "variance": of_step})
    config.eval.batch_size = 128
    return config


def _distances(transform, real, generated):
    scaled = (np.asarray(transform.to_model(images)) for images in (real, generated))
    return {
        "sliced_wasserstein": sliced_wasserstein(*scaled, projections=512),
        "one_nearest_neighbour": float(one_nearest_neighbour(real, generated)["accuracy"]),
    }


class Results:
    """Cells of the table in a JSON file, for one set of parameters; each change is shown."""

    def __init__(self, path, identity, show):
        self.path, self.cells, self._show = Path(path), {}, show
        if self.path.exists():
            found = json.loads(self.path.read_text())
            if found["identity"] == identity:
                self.cells = found["cells"]
        self._identity = identity

    def add(self, name, cell):
        """Remembers a cell."""
        self.cells[name] = cell
        write_json(self.path, {"identity": self._identity, "cells": self.cells})
        self._show(self.cells)


def fill(arguments, show):
    """Fills all cells, by "schedule/method/steps", and shows them after each."""
    loaded, variance_file = trained(arguments)
    network = loaded[None]
    transform = network.experiment.transform
    found = data_of(network)
    images = subset(found.train, 2 * arguments.samples)["image"]
    real, other = images[::2], images[1::2][: len(images[::2])]
    real = real[: len(other)]
    held_out = subset(found.test, arguments.images)
    # How far other real images are from these is the distance of perfect samples.
    identity = {
        "parameters": {str(head): checksum(run.params) for head, run in loaded.items()},
        "arguments": {k: v for k, v in vars(arguments).items() if k not in ("calls", "out", "runs")},
    }
    results = Results(Path(arguments.runs) / "results.json", identity, show)
    results.add("floor", _distances(transform, real, other))
    for steps in arguments.calls:
        for schedule in SCHEDULES:
            for name, method in METHODS.items():
                cell_name = f"{schedule}/{name}/{steps}"
                if cell_name in results.cells:
                    continue
                started = time.monotonic()
                run = loaded[method.head]
                config = of_method(run.config, method, schedule, steps, variance_file, arguments.probes)
                experiment = create(config)
                samples = NumberedSamples(experiment, config.sampling)
                generated = samples.draw(run.params, len(real), convert=transform.to_pixels)
                cell = {"nfe": samples.nfe, **_distances(transform, real, generated)}
                if method.has_bound:
                    levels = sampled_levels(config, samples)
                    found = network_bounds(experiment, run.params, held_out, config, levels)
                    cell["bits_per_dim"] = found["discrete_bound"]
                cell["seconds"] = time.monotonic() - started
                results.add(cell_name, cell)
                say(f"{cell_name}: {_shown(cell)}, {cell['seconds']:.0f} s")


def _shown(cell):
    bits = f"{cell['bits_per_dim']['value']:.3f} bits/dim, " if "bits_per_dim" in cell else ""
    return f"{bits}distance {cell['sliced_wasserstein']:.4f}, 1-NN {cell['one_nearest_neighbour']:.3f}"


def markdown(cells, calls):
    """The tables: rows are methods, columns numbers of steps; the best of each column in bold.

    Cells that are not there yet stay empty.
    """
    lines = []

    def table(schedule, title, value, digits, best):
        lines.extend([f"\n{title}, {schedule} schedule:\n", "| K | " + " | ".join(map(str, calls)) + " |"])
        lines.append("|---|" + "---|" * len(calls))
        rows = {
            method: [value(cells.get(f"{schedule}/{method}/{steps}", {})) for steps in calls]
            for method in METHODS
        }
        rows = {method: row for method, row in rows.items() if row[0] is not None}
        columns = list(zip(*rows.values(), strict=True))
        for method, row in rows.items():
            shown = []
            for x, column in zip(row, columns, strict=True):
                # The best of a column is known when all of it is.
                known = None not in column
                number = "" if x is None else f"{x:.{digits}f}"
                shown.append(f"**{number}**" if known and best(x, column) else number)
            lines.append(f"| {method} | " + " | ".join(shown) + " |")

    for schedule in SCHEDULES:
        table(
            schedule,
            "Bits/dim of held-out images (upper bound)",
            lambda cell: cell.get("bits_per_dim", {}).get("value"),
            3,
            lambda x, column: x == min(column),
        )
    floor = cells["floor"]
    for schedule in SCHEDULES:
        title = f"Sliced Wasserstein distance, {floor['sliced_wasserstein']:.4f} between real images"
        table(
            schedule,
            title,
            lambda cell: cell.get("sliced_wasserstein"),
            4,
            lambda x, column: x == min(column),
        )
    for schedule in SCHEDULES:
        title = f"1-NN accuracy (0.5 is perfect), {floor['one_nearest_neighbour']:.3f} between real images"
        table(
            schedule,
            title,
            lambda cell: cell.get("one_nearest_neighbour"),
            3,
            lambda x, column: abs(x - 0.5) == min(abs(y - 0.5) for y in column),
        )
    return "\n".join(lines).lstrip() + "\n"


def optimal_variance_figure(path, cells, schedules, methods, steps):
    """Bits/dim and distance of samples against the number of steps, one line a method.

    Args:
      cells: dict from "schedule/method/steps" to the figures of papers/optimal_variance.py.
    """
    plt = pyplot()
    figure, axes = plt.subplots(
        2, len(schedules), figsize=(10, 7), layout="constrained", sharex=True, sharey="row"
    )
    colours = plt.get_cmap("tab10").colors
    for column, schedule in zip(axes.T, schedules, strict=True):
        for method, colour in zip(methods, colours, strict=False):
            named = {
                n: cells[f"{schedule}/{method}/{n}"] for n in steps if f"{schedule}/{method}/{n}" in cells
            }
            style = {"color": colour, "label": method, "ms": 4}
            bits = {n: cell["bits_per_dim"]["value"] for n, cell in named.items() if "bits_per_dim" in cell}
            distances = [cell["sliced_wasserstein"] for cell in named.values()]
            column[0].plot(list(bits), list(bits.values()), "o-", **style)
            column[1].plot(list(named), distances, "o-", **style)
        column[1].axhline(cells["floor"]["sliced_wasserstein"], color=GREY, ls=":", label="real images")
        # An axis without data cannot be logarithmic: the first cells of a table fill one schedule alone.
        column[0].set(title=f"{schedule} schedule", xscale="log", xlim=(0.8 * min(steps), 1.25 * max(steps)))
        if column[0].dataLim.y1 > 0:
            column[0].set(yscale="log")
        column[1].set(xlabel="steps K")
        column[1].set_xticks(list(steps), list(steps))
        column[1].minorticks_off()
    axes[0, 0].set(ylabel="bits/dim (upper bound)")
    axes[1, 0].set(ylabel="sliced Wasserstein distance")
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    """Fills the table and writes it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="digits", help="data.source: digits, or npz:<path>")
    parser.add_argument("--runs", default="runs/optimal_variance", help="folder of the trainings and results")
    parser.add_argument("--out", default="docs", help="folder of the table and the figure")
    parser.add_argument("--calls", type=int, nargs="+", default=CALLS, help="numbers of steps K")
    parser.add_argument("--steps", type=int, default=6_000, help="of the network's training")
    parser.add_argument("--head-steps", type=int, default=3_000, help="of each head's training")
    parser.add_argument("--width", type=int, default=16, help="model.width")
    parser.add_argument("--samples", type=int, default=512, help="drawn by each method for each K")
    parser.add_argument("--images", type=int, default=128, help="held-out images of the bound")
    parser.add_argument("--examples", type=int, default=10_000, help="of the analytic estimate")
    parser.add_argument("--probes", type=int, default=2, help="of the Jacobian")
    arguments = parser.parse_args()
    for name in ("steps", "head_steps", "width", "samples", "images", "examples", "probes"):
        if getattr(arguments, name) < 2:
            parser.error(f"--{name.replace('_', '-')}={getattr(arguments, name)} must be at least 2")
    if min(arguments.calls) < 2:
        parser.error(f"--calls {arguments.calls} must be at least 2 each")
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    started = time.monotonic()
    name = "digits" if arguments.data == "digits" else Path(arguments.data).stem
    path = out / f"optimal_variance_{name}"

    def show(cells):
        path.with_suffix(".md").write_text(markdown(cells, arguments.calls))
        optimal_variance_figure(path.with_suffix(".png"), cells, SCHEDULES, METHODS, arguments.calls)

    try:
        fill(arguments, show)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    say(f"wrote {path}.md and .png, {math.ceil(time.monotonic() - started)} s")


if __name__ == "__main__":
    main()
