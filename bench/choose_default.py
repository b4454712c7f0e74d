"""How the default sampler was chosen: Adams methods on many mixtures, and a path over the number of calls.

    python -m bench.choose_default [--images] [--calls 5 6 8 10 12 15 20] [--only NAME ...] [--peers FILE]

Every candidate (orders, prediction, variable, grid with one field) runs on every mixture of
bench.mixtures.CHOICE, on VP and on EDM, and is measured by the median and by RMS_98 (bench.cases.Figures):
by their ratios to the best sampler of other programs, whose figures FILE holds as for
bench/error_by_calls.py, or without them to the best candidate. A path takes one candidate for each number
of calls. Its cost is the sum over the numbers of calls of the log of the largest ratio and the mean log
ratio, a price for each change, and a price for each figure that rises when a call is added. Prints the best
path, beside the table in samplers/create.py, with the largest ratio and the mean of both. --images: among the
candidates for images and on the images, which have a table of their own.
"""

import argparse
import itertools
import json
import math
import time
from pathlib import Path

import jax
import numpy as np

from bench.cases import Case, calls_of
from bench.mixtures import CHOICE, noises_for
from samplers.create import chosen, grid_fields
from samplers.solvers.adams import Adams
from samplers.time_grids import TIME_GRIDS

CALLS = (5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 17, 18, 20)
IMAGE_CALLS = (5, 6, 7, 8, 9, 10, 12, 14, 17, 20, 23, 26, 30, 35, 40, 50)
PROCESSES = ("vp", "edm")
ORDERS = ((2, 0), (3, 0), (4, 0), (2, 4), (3, 3), (3, 4), (4, 3), (4, 4))
FORMS = (("f", "measure"), ("f", "vp_time"), ("f", "log_snr"), ("x0", "vp_time"), ("x0", "log_snr"))
GRIDS = tuple(("vp_time", power) for power in (3.0, 3.25, 3.5, 4.0, 5.0))
IMAGE_ORDERS = ((2, 0), (4, 0), (3, 3), (3, 4), (4, 4))
IMAGE_FORMS = (("x0", "vp_time"), ("x0", "log_snr"))
IMAGE_GRIDS = (
    *(("log_snr", end) for end in (0.01, 0.02, 0.03, 0.04, 0.06)),
    *(("rho", end) for end in (0.0, 0.005, 0.01, 0.02)),
)
# In logs: of a change of the candidate, and of a figure that rises by more than LARGEST_RISE.
PRICE_OF_A_CHANGE, PRICE_OF_A_RISE, LARGEST_RISE = 1.0, 4.0, 1.1
# Distances below it are those of rounding.
SMALLEST = 1e-6


def candidates(images):
    """Tuples (order, corrector_order, prediction, variable, grid, value), as in samplers.create.DEFAULTS."""
    varied = (IMAGE_ORDERS, IMAGE_FORMS, IMAGE_GRIDS) if images else (ORDERS, FORMS, GRIDS)
    return [(*orders, *form, *grid) for orders, form, grid in itertools.product(*varied)]


def table_of(candidate, sde, calls):
    """The Table of a candidate with so many network calls."""
    *solver, grid, value = candidate
    times = TIME_GRIDS[grid](**grid_fields(grid, value))(sde, calls - 1)
    return Adams(*solver)(sde, times)


def measure(case, calls, tried):
    """[len(tried), 2] median and RMS_98 of candidates on a case; infinite where a sample is not finite."""
    with np.errstate(all="ignore"):
        samplers = [calls_of(table_of(candidate, case.sde, calls), case.sde) for candidate in tried]
    return np.array([case.figures(x)[:2] for x in case.run(samplers)])


def reference(figures, elsewhere, calls):
    """[2] what the figures [candidates, 2] of a case are compared with, at a number of calls.

    Args:
      elsewhere: {calls as text: {sampler: [median, rms_98, ...]}} of other programs; between two numbers
        of calls their best figures are interpolated, log against log.
    """
    if not elsewhere:
        return np.maximum(figures, SMALLEST).min(axis=0)
    known = sorted(
        (int(n), np.min([row[:2] for row in found.values()], axis=0)) for n, found in elsewhere.items()
    )
    numbers, best = np.log([n for n, _ in known]), np.log([row for _, row in known])
    return np.exp([np.interp(math.log(calls), numbers, best[:, i]) for i in range(2)])


def best_path(figures, ratios):
    """The cheapest path.

    Args:
      figures: {calls: [candidates, cases, 2]} increasing in calls; ratios: the same over their references.

    Returns:
      {calls: index of the candidate}.
    """
    costs, back, before = None, [], None
    for calls in figures:
        here = np.maximum(figures[calls], SMALLEST)
        logs = np.log(ratios[calls])
        own = logs.max(axis=(1, 2)) + logs.mean(axis=(1, 2))
        if costs is not None:
            # [this candidate, the one before, cases, 2]
            rise = np.log(here[:, None] / before[None] / LARGEST_RISE)
            price = PRICE_OF_A_RISE * np.nan_to_num(np.clip(rise, 0, None), posinf=1e3).sum(axis=(2, 3))
            change = PRICE_OF_A_CHANGE * ~np.eye(len(own), dtype=bool)
            through = costs[None] + price + change
            back.append(through.argmin(axis=1))
            own = own + through.min(axis=1)
        costs, before = own, here
    path = [int(costs.argmin())]
    for come_from in reversed(back):
        path.append(int(come_from[path[-1]]))
    return dict(zip(figures, reversed(path), strict=True))


def main():
    """Measures and prints the path."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, nargs="+", help="numbers of network calls")
    parser.add_argument("--images", action="store_true", help="the table of images")
    parser.add_argument("--only", nargs="+", choices=CHOICE, help="mixtures")
    parser.add_argument("--peers", help="JSON file with figures of other programs")
    arguments = parser.parse_args()
    of_table = [name for name in CHOICE if name.startswith("images") == arguments.images]
    mixtures = arguments.only or of_table
    if not set(mixtures) <= set(of_table):
        parser.error(f"with --images or without: this table is chosen on {', '.join(of_table)}")
    numbers = sorted(arguments.calls or (IMAGE_CALLS if arguments.images else CALLS))
    elsewhere = json.loads(Path(arguments.peers).read_text()) if arguments.peers else {}
    tried = candidates(arguments.images)
    by_case, ratios_by_case = [], []
    with jax.enable_x64(True):
        for name, process in itertools.product(mixtures, PROCESSES):
            begin = time.monotonic()
            case = Case(name, CHOICE[name](), process, noises_for(name))
            shape = case.mixture.shape
            found = {calls: measure(case, calls, tried) for calls in numbers}
            others = elsewhere.get(case.name, {})
            by_case.append(found)
            ratios_by_case.append(
                {n: np.maximum(found[n], SMALLEST) / reference(found[n], others, n) for n in numbers}
            )
            print(f"{case.name}: {time.monotonic() - begin:.0f} s", flush=True)
    figures, ratios = (
        {calls: np.stack([found[calls] for found in cases], axis=1) for calls in numbers}
        for cases in (by_case, ratios_by_case)
    )
    print(f"{'calls':>5}  {'path':44}{'largest':>8}{'mean':>6}  {'default':44}{'largest':>8}{'mean':>6}")
    for calls, best in best_path(figures, ratios).items():

        def shown(index, found=ratios[calls]):
            mean = math.exp(np.log(found[index]).mean())
            return f"{', '.join(map(str, tried[index])):44}{found[index].max():8.2f}{mean:6.2f}"

        print(f"{calls:5}  {shown(best)}  {shown(tried.index(chosen(calls, shape)))}")


if __name__ == "__main__":
    main()
