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
import math
import time
from pathlib import Path

import numpy as np

import data
import estimate_variance
import experiment
import figures
import sample
import train
from configs import digits
from evaluation.held_out import subset
from evaluation.likelihoods import network_bounds, sampled_levels
from metrics.neighbours import one_nearest_neighbour
from metrics.sliced_wasserstein import sliced_wasserstein
from training.checkpoints import checksum
from training.logging import say
from training.workdir import write_json

CALLS = (10, 25, 50, 100, 200, 1000)
SCHEDULES = {"linear": "ddpm", "cosine": "iddpm"}
# Row: predictor, variance, head, whether the chain is one whose likelihood has a bound.
METHODS = {
    "DDPM, small": ("ancestral", "small", None, True),
    "DDPM, large": ("ancestral", "large", None, True),
    "Analytic-DDPM": ("ancestral", "analytic", None, True),
    "NPR-DDPM": ("ancestral", "predicted", "residual", True),
    "SN-DDPM": ("ancestral", "predicted", "second_moment", True),
    "OCM-DDPM": ("ancestral", "predicted", "covariance", True),
    "Jacobian-DDPM": ("ancestral", "jacobian", None, True),
    "DDIM": ("ddim", "small", None, False),
    "Analytic-DDIM": ("ddim", "analytic", None, False),
}
HEADS = ("residual", "second_moment", "covariance")


def base_config(arguments):
    """The config of the network, trained without dequantization as in the papers."""
    config = digits.get_config()
    config.data.source = arguments.data
    config.data.dequantize = False
    config.sde.update({"name": "cosine", "log_snr_max": 12.0, "log_snr_min": -20.0})
    config.denoiser.update({"parametrization": "eps", "conditioning": "log_sigma"})
    config.training.update({"steps": arguments.steps, "eval_every": 0, "sample_every": 0})
    config.checkpoint.every = 1000
    config.ema.decays = (0.9995,)
    config.sampling.update({"corrector": "none", "batch_size": 256, "threshold": "data_range"})
    config.sampling.variance_probes = arguments.probes
    config.variance.update({"levels": 200, "examples": arguments.examples})
    config.model.width = arguments.width
    data.resolve(config.data, data.create(config.data, "train"))
    # Halved until at most 8 pixels are left, with attention there.
    halvings = max(1, math.ceil(math.log2(config.data.image_size / 8)))
    config.model.multipliers = (1,) + (2,) * halvings
    config.model.attention = (-(-config.data.image_size // 2**halvings),)
    return config


def trained(arguments):
    """Configs by head (None: the network's own), each trained; and the file of the analytic estimate."""
    runs = Path(arguments.runs)
    configs = {None: (base_config(arguments), runs / "network")}
    for head in HEADS:
        config = base_config(arguments)
        config.denoiser.variance_head = head
        config.loss.variance_weight = 1.0
        config.training.update({"network_from": str(runs / "network"), "steps": arguments.head_steps})
        configs[head] = (config, runs / head)
    for config, workdir in configs.values():
        experiment.resolve(config)
        if not train.run(config, workdir):
            raise SystemExit(0)
    config, workdir = configs[None]
    if not (workdir / "variance.npz").exists():
        estimate_variance.run(config, workdir)
    return configs, workdir / "variance.npz"


def of_method(config, method, schedule, steps, variance_file):
    """The config of one cell of the table; its `eval` bounds the chain that is sampled."""
    predictor, variance, _, _ = METHODS[method]
    config = config.copy_and_resolve_references()
    for field in config.sde:
        config.sde[field] = None
    config.sde.name = SCHEDULES[schedule]
    config.sampling.update({"predictor": predictor, "variance": variance, "grid": "even", "steps": steps - 1})
    if predictor == "ddim":
        config.sampling.eta = 0.0
    if variance == "analytic":
        config.sampling.variance_file = str(variance_file)
    if variance != "small":
        # Grey levels in place of 1/255: 2 for the linear schedule's DDPM, else 1 (Bao et al. 2022a, F.2).
        pixels = 2 if (predictor, schedule) == ("ancestral", "linear") else 1
        config.sampling.variance_pixels = pixels * 255 / (config.data.levels - 1)
    config.eval.update({"discrete_bound": True, "bound_variance": variance, "bound_grid": "sampling"})
    config.eval.update({"bound_decoder": "pixels", "batch_size": 128})
    experiment.resolve(config)
    return config


def _distances(setup, real, generated):
    scaled = (np.asarray(setup.transform.to_model(images)) for images in (real, generated))
    return {
        "sliced_wasserstein": sliced_wasserstein(*scaled, projections=512),
        "one_nearest_neighbour": float(one_nearest_neighbour(real, generated)["accuracy"]),
    }


class Results:
    """Cells of the table in a JSON file, for one set of parameters."""

    def __init__(self, path, identity):
        self.path, self.cells = Path(path), {}
        if self.path.exists():
            found = json.loads(self.path.read_text())
            if found["identity"] == identity:
                self.cells = found["cells"]
        self._identity = identity

    def add(self, name, cell):
        """Remembers a cell."""
        self.cells[name] = cell
        write_json(self.path, {"identity": self._identity, "cells": self.cells})


def fill(arguments):
    """All cells, by "schedule/method/steps"; and pictures of samples."""
    configs, variance_file = trained(arguments)
    loaded = {head: sample.load(config, workdir)[1] for head, (config, workdir) in configs.items()}
    setup, config = experiment.create(configs[None][0]), configs[None][0]
    train_source, test_source = (data.create(config.data, split) for split in ("train", "test"))
    images = subset(train_source, 2 * arguments.samples)
    real, other = images[::2], images[1::2][: len(images[::2])]
    real = real[: len(other)]
    held_out = subset(test_source, arguments.images)
    # The directions and the real images are one draw: other real images tell what distance is none.
    identity = {
        "parameters": {str(head): checksum(params) for head, params in loaded.items()},
        "arguments": {k: v for k, v in vars(arguments).items() if k not in ("calls", "out", "runs")},
    }
    results = Results(Path(arguments.runs) / "results.json", identity)
    results.add("floor", _distances(setup, real, other))
    pictures = Path(arguments.runs) / "samples"
    pictures.mkdir(exist_ok=True)
    for steps in arguments.calls:
        for schedule in SCHEDULES:
            for method, (_, _, head, has_bound) in METHODS.items():
                name = f"{schedule}/{method}/{steps}"
                if name in results.cells:
                    continue
                started = time.monotonic()
                of_cell = of_method(configs[head][0], method, schedule, steps, variance_file)
                cell_setup = experiment.create(of_cell)
                drawer = sample.Drawer(cell_setup, of_cell.sampling)
                drawn = drawer.draw(loaded[head], len(real))
                generated = setup.transform.to_pixels(drawn)
                cell = {"nfe": drawer.nfe, **_distances(setup, real, generated)}
                if has_bound:
                    levels = sampled_levels(of_cell, drawer)
                    found = network_bounds(cell_setup, loaded[head], held_out, of_cell, levels)
                    cell["bits_per_dim"] = found["discrete_bound"]
                cell["seconds"] = time.monotonic() - started
                np.save(pictures / f"{name.replace('/', '_')}.npy", generated[:16])
                results.add(name, cell)
                say(f"{name}: {_shown(cell)}, {cell['seconds']:.0f} s")
    return results.cells


def _shown(cell):
    bits = f"{cell['bits_per_dim']['value']:.3f} bits/dim, " if "bits_per_dim" in cell else ""
    return f"{bits}distance {cell['sliced_wasserstein']:.4f}, 1-NN {cell['one_nearest_neighbour']:.3f}"


def markdown(cells, calls):
    """The tables: rows are methods, columns numbers of steps; the best of each column in bold."""
    lines = []

    def table(schedule, title, value, digits, best):
        lines.extend([f"\n{title}, {schedule} schedule:\n", "| K | " + " | ".join(map(str, calls)) + " |"])
        lines.append("|---|" + "---|" * len(calls))
        rows = {
            method: [value(cells[f"{schedule}/{method}/{steps}"]) for steps in calls] for method in METHODS
        }
        rows = {method: row for method, row in rows.items() if row[0] is not None}
        columns = list(zip(*rows.values(), strict=True))
        for method, row in rows.items():
            shown = (
                f"**{x:.{digits}f}**" if best(x, column) else f"{x:.{digits}f}"
                for x, column in zip(row, columns, strict=True)
            )
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
        table(schedule, title, lambda cell: cell["sliced_wasserstein"], 4, lambda x, column: x == min(column))
    for schedule in SCHEDULES:
        title = f"1-NN accuracy (0.5 is perfect), {floor['one_nearest_neighbour']:.3f} between real images"
        table(
            schedule,
            title,
            lambda cell: cell["one_nearest_neighbour"],
            3,
            lambda x, column: abs(x - 0.5) == min(abs(y - 0.5) for y in column),
        )
    return "\n".join(lines).lstrip() + "\n"


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
    started = time.monotonic()
    cells = fill(arguments)
    name = arguments.data.split(":")[0] if arguments.data == "digits" else Path(arguments.data).stem
    out = Path(arguments.out)
    (out / f"optimal_variance_{name}.md").write_text(markdown(cells, arguments.calls))
    figures.optimal_variance_figure(
        out / f"optimal_variance_{name}.png", cells, SCHEDULES, METHODS, arguments.calls
    )
    say(f"wrote optimal_variance_{name}.md and .png to {out}, {math.ceil(time.monotonic() - started)} s")


if __name__ == "__main__":
    main()
