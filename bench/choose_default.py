"""How the default sampler was chosen: Adams methods on many mixtures, and a path over the number of calls.

    python -m bench.choose_default [--calls 5 6 8 10 12 15 20] [--only NAME ...] [--peers FILE]

Every candidate (orders, prediction, variable, power of the grid `vp_time`) runs on every mixture of
bench.mixtures.CHOICE, on VP and on EDM, and is measured by the median and by RMS_98 (bench.cases.Figures):
by their ratios to the best sampler of other programs, whose figures FILE holds as for
bench/error_by_calls.py, or without a FILE to the best candidate. A path takes one candidate for each number
of calls. Its cost is the sum over the numbers of calls of the log of the largest ratio and the mean log
ratio, a price for each change, and a price for each figure that rises when a call is added. Prints the best
path, beside the table in samplers/create.py, with the largest ratio and the mean of both.
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
from samplers.create import default_fields
from samplers.solvers.adams import Adams
from samplers.time_grids import VPTime

CALLS = (5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 17, 18, 20)
PROCESSES = ("vp", "edm")
ORDERS = ((2, 0), (3, 0), (4, 0), (2, 4), (3, 3), (3, 4), (4, 3), (4, 4))
FORMS = (("f", "measure"), ("f", "vp_time"), ("f", "log_snr"), ("x0", "vp_time"), ("x0", "log_snr"))
POWERS = (3.0, 3.25, 3.5, 4.0, 5.0)
# In logs: of a change of the candidate, and of a figure that rises by more than LARGEST_RISE.
PRICE_OF_A_CHANGE, PRICE_OF_A_RISE, LARGEST_RISE = 1.0, 4.0, 1.1
# Distances below it are those of rounding.
SMALLEST = 1e-6


def candidates():
    """Tuples (order, corrector_order, prediction, variable, power), as in samplers.create.DEFAULTS."""
    return [(*orders, *form, power) for orders, form, power in itertools.product(ORDERS, FORMS, POWERS)]


def candidate_of_default(calls):
    """The candidate that samplers/create.py takes for a number of calls."""
    fields = default_fields(calls)
    predictor = fields["predictor"]
    names = ("order", "corrector_order", "prediction", "variable")
    return (*(predictor[name] for name in names), fields["grid"]["power"])


def table_of(candidate, sde, calls):
    """The Table of a candidate with so many network calls."""
    *solver, power = candidate
    return Adams(*solver)(sde, VPTime(power, toward_zero=True)(sde, calls - 1))


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
    parser.add_argument("--calls", type=int, nargs="+", default=CALLS, help="numbers of network calls")
    parser.add_argument("--only", nargs="+", default=CHOICE, choices=CHOICE, help="mixtures")
    parser.add_argument("--peers", help="JSON file with figures of other programs")
    arguments = parser.parse_args()
    elsewhere = json.loads(Path(arguments.peers).read_text()) if arguments.peers else {}
    tried, numbers = candidates(), sorted(arguments.calls)
    by_case, ratios_by_case = [], []
    with jax.enable_x64(True):
        for name, process in itertools.product(arguments.only, PROCESSES):
            begin = time.monotonic()
            case = Case(name, CHOICE[name](), process, noises_for(name))
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
    for calls, chosen in best_path(figures, ratios).items():

        def shown(index, found=ratios[calls]):
            mean = math.exp(np.log(found[index]).mean())
            return f"{', '.join(map(str, tried[index])):44}{found[index].max():8.2f}{mean:6.2f}"

        print(f"{calls:5}  {shown(chosen)}  {shown(tried.index(candidate_of_default(calls)))}")


if __name__ == "__main__":
    main()
