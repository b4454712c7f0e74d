"""Pictures and plots that stand next to the numbers."""

from textwrap import fill

import numpy as np

from reports.pictures import BLUE, GREY, ORANGE, grid, pyplot, save_picture

# Of bars, in letters, that stands below its bar word by word.
LONGEST_LABEL = 24


def loss_figure(path, rows, log_snr, by_level, baselines=None):
    """The loss curve, and the held-out loss by noise level.

    Args:
      rows: of metrics.jsonl.
      log_snr, by_level: [M] noise levels and the network's loss there, or None: the first panel alone.
      baselines: dict from label to [M] losses of other denoisers.
    """
    plt = pyplot()
    panels = 1 if by_level is None else 2
    figure, axes = plt.subplots(1, panels, figsize=(5 * panels, 3.8), layout="constrained", squeeze=False)
    left = axes[0, 0]
    for name, colour, label in (("loss", GREY, "training"), ("held_out_loss", BLUE, "held out, EMA")):
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            marker = "o" if name == "held_out_loss" else None
            left.plot(*zip(*points, strict=True), color=colour, label=label, marker=marker, markersize=3)
    left.set(xlabel="step", ylabel="loss", yscale="log", title="Loss curve")
    left.legend(frameon=False)
    if by_level is not None:
        _levels_panel(axes[0, 1], log_snr, by_level, baselines or {})
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _levels_panel(axis, log_snr, by_level, baselines):
    axis.plot(log_snr, by_level, color=BLUE, marker="o", markersize=3, label="network, EMA")
    for (label, values), style in zip(baselines.items(), ("--", ":"), strict=False):
        axis.plot(log_snr, values, style, color=ORANGE, label=label)
    axis.set(
        xlabel="log-SNR (noise to the left, data to the right)",
        ylabel="mean-squared error of eps",
        yscale="log",
        title="Held-out loss by noise level",
    )
    axis.legend(frameon=False)


def bars_figure(path, panels):
    """One panel of bars a figure of merit.

    Args:
      panels: dict from title to a dict from label to (value, reach): a standard error, 0 where there is none,
        or the lengths of a 95% interval (below, above) the value.
    """
    plt = pyplot()
    # A word a line, as short labels stand, long ones would lie over each other.
    upright = any(len(label) > LONGEST_LABEL for bars in panels.values() for label in bars)
    size = (3.4 * len(panels), 4.8 if upright else 3.4)
    figure, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained")
    colours = {"model": BLUE, "fitted Gaussian": ORANGE}
    for axis, (title, bars) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        kinds = set()
        for i, (label, (value, reach)) in enumerate(bars.items()):
            error = np.reshape(reach, (-1, 1)) if np.any(reach) else None
            if error is not None:
                kinds.add("± standard error" if np.ndim(reach) == 0 else "95% interval")
            axis.bar(i, value, yerr=error, color=colours.get(label, GREY), width=0.7)
            axis.annotate(
                f"{value:.3g}",
                (i, value + np.ravel(reach)[-1]),
                ha="center",
                va="bottom",
                xytext=(0, 4),
                textcoords="offset points",
            )
        if max(map(len, bars)) > LONGEST_LABEL:
            axis.set_xticks(range(len(bars)), [fill(label, 30) for label in bars], rotation=90, fontsize=7)
        else:
            axis.set_xticks(range(len(bars)), [label.replace(" ", "\n") for label in bars])
        axis.set_title(title)
        axis.set_xlabel(", ".join(sorted(kinds)), fontsize=8)
        axis.margins(y=0.15)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def scatter_figure(path, panels):
    """Points in the plane, one panel each.

    Args:
      panels: dict, or list of pairs, from title to points [N, 2].
    """
    panels = list(panels.items()) if isinstance(panels, dict) else panels
    plt = pyplot()
    width = min(len(panels), 5)
    height = -(-len(panels) // width)
    figure, axes = plt.subplots(
        height, width, figsize=(3.2 * width, 3.3 * height), layout="constrained", squeeze=False
    )
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, (title, points) in zip(axes.flat, panels, strict=False):
        axis.scatter(*points.T, s=2, alpha=0.5, color=BLUE, linewidths=0)
        axis.set(title=title, aspect="equal")
        reach = 1.05 * max(np.abs(points).max(), 1.5)
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def diagnostics_figure(path, result):
    """The diagnostics by noise level: error and what the Jacobian implies, symmetry, Fokker-Planck residual.

    Args:
      result: entry of the evaluator `diagnostics` in metrics.json.
    """
    plt = pyplot()
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    log_snr = result["log_snr"]
    curves = {"error": BLUE, "implied_error": ORANGE, "floor": GREY}
    labels = {"error": "measured", "implied_error": "implied by the Jacobian", "floor": "least possible"}
    for name, colour in curves.items():
        if name in result:
            style = "--" if name == "floor" else "o-"
            errors = result[f"{name}_standard_error"]
            # A trace that is wrong by more than its size may be negative, which no logarithm shows.
            values = np.where(np.asarray(result[name]) > 0, result[name], np.nan)
            left.errorbar(log_snr, values, errors, fmt=style, ms=3, color=colour, label=labels[name])
    left.set(ylabel="mean-squared error of eps", yscale="log", title="Is the variance calibrated?")
    left.legend(frameon=False)
    middle.plot(log_snr, result["asymmetry"], "o-", ms=3, color=BLUE)
    middle.set(ylabel="|A - A'| / 2|A|, A = dD/dy", title="Is the score a gradient? (0 if so)")
    residual, resolution = result["fokker_planck_residual"], result["fokker_planck_resolution"]
    right.plot(log_snr, np.maximum(residual, 1e-6), "o-", ms=3, color=BLUE, label="residual")
    right.plot(log_snr, np.maximum(resolution, 1e-6), "--", color=GREY, label="its standard error")
    right.set(ylabel="relative residual", yscale="log", title="Does it solve Fokker-Planck? (0 if so)")
    right.legend(frameon=False)
    for axis in (left, middle, right):
        axis.set_xlabel("log-SNR (noise to the left, data to the right)")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def calibration_figure(path, results, panels, kind):
    """Distance to the fine solution by calls, default against fitted, and what the fewest calls give.

    Args:
      results: dict from calls to {"default": {"median", "rms_98"}, "fitted": ...}.
      panels: dict from title to a picture, or to points [N, 2]; kind: pictures or points.
    """
    plt = pyplot()
    figure, axes = plt.subplots(
        1, 1 + len(panels), figsize=(4.2 + 3.2 * len(panels), 3.6), layout="constrained"
    )
    calls = sorted(results)
    for name, colour in (("default", GREY), ("fitted", BLUE)):
        for measure, label, style in (
            ("rms_98", "RMS without the worst 2%", "o-"),
            ("median", "median", "o:"),
        ):
            values = [results[c][name][measure] for c in calls]
            axes[0].plot(calls, values, style, ms=4, color=colour, label=f"{name}, {label}")
    axes[0].set(
        xlabel="network calls",
        ylabel="distance to the fine solution",
        yscale="log",
        xticks=calls,
        title="Fresh noises",
    )
    axes[0].legend(frameon=False)
    for axis, (title, panel) in zip(axes[1:], panels.items(), strict=True):
        if kind == "pictures":
            axis.imshow(panel, interpolation="nearest")
            axis.axis("off")
        else:
            axis.scatter(*panel.T, s=4, color=BLUE)
            axis.set(aspect="equal")
        axis.set_title(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def testbed_figure(path, result):
    """What evaluators found on a mixture: the loss and its floor, the error of the flow's likelihood, bounds.

    Args:
      result: entries of the mixture's metrics.json by evaluator, any of them.
    """
    plt = pyplot()
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    loss, likelihood = result.get("loss"), result.get("bits_per_dim", {})
    if loss:
        left.errorbar(
            loss["log_snr"],
            loss["error"],
            loss["standard_error"],
            fmt="o",
            ms=4,
            color=BLUE,
            label="measured",
        )
        left.plot(loss["log_snr"], loss["floor"], color=ORANGE, label="closed form")
        left.set(xlabel="log-SNR", ylabel="mean-squared error of eps", yscale="log", title="Loss")
        left.legend(frameon=False)
    else:
        left.axis("off")
    if "flow" in likelihood:
        difference = np.asarray(likelihood["flow"]["differences"])
        middle.hist(difference, bins=30, color=BLUE)
        middle.set(xlabel="nats/dim", title="Log-density by the flow minus the exact one")
    else:
        middle.axis("off")
    entries = {"exact": likelihood.get("exact")}
    entries |= {name: result.get(name) for name in ("continuous_bound", "discrete_bound")}
    names = [name for name, entry in entries.items() if entry and "value" in entry]
    for i, name in enumerate(names):
        entry = entries[name]
        colour = GREY if name == "exact" else BLUE
        right.errorbar(i, entry["value"], entry["standard_error"], fmt="o", color=colour)
    right.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
    right.set(ylabel="nats/dim", title="Negative log-likelihood and its bounds")
    right.margins(x=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def optimal_grid_figure(path, paths, unit):
    """Which noise levels the optimal grids visit, and their bound beside that of even steps.

    Args:
      paths: dict from number of steps to (log-SNR [steps], bound, bound on even steps).
      unit: of the bounds.
    """
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for row, (log_snr, _, _) in enumerate(paths.values()):
        left.plot(log_snr, np.full(len(log_snr), row), "|", ms=14, color=BLUE)
    left.set_yticks(range(len(paths)), paths)
    left.set(xlabel="log-SNR", ylabel="steps", title="Levels of the optimal grid")
    for column, colour, label in ((2, GREY, "even steps"), (1, BLUE, "optimal grid")):
        right.plot(list(paths), [found[column] for found in paths.values()], "o-", color=colour, label=label)
    right.set(xlabel="steps", ylabel=unit, xscale="log", title="Bound on the negative log-likelihood")
    right.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def variance_figure(path, measured):
    """Both estimates of the unexplained part of the noise by noise level, with two standard errors.

    Args:
      measured: variance.Measured.
    """
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(5.5, 3.8), layout="constrained")
    norm, residual = 1 - measured.moments[:, 0], measured.moments[:, 1]
    for values, errors, colour, label in (
        (norm, measured.errors[:, 0], GREY, "1 - E|eps_hat|² / d (analytic)"),
        (residual, measured.errors[:, 1], BLUE, "E|eps - eps_hat|² / d (analytic_residual)"),
    ):
        shown = values > 0
        axis.plot(measured.log_snr[shown], values[shown], ".-", ms=3, color=colour, label=label)
        low = np.maximum(values - 2 * errors, 1e-8)
        axis.fill_between(
            measured.log_snr, low, np.maximum(values + 2 * errors, 1e-8), color=colour, alpha=0.2
        )
    axis.set(xlabel="log-SNR", ylabel="unexplained part of the noise", yscale="log")
    axis.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def scaling_figure(path, rows, topology):
    """The cost of an image and the weak-scaling efficiency against the number of chips.

    Args:
      rows: dicts with `chips`, `chip_seconds` and `efficiency`.
      topology: for which the program was compiled, for the title.
    """
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    numbers = [row["chips"] for row in rows]
    left.plot(numbers, [1e3 * row["chip_seconds"] for row in rows], "o-", color=BLUE)
    left.set(ylabel="chip milliseconds an image", title=f"Cost of an image, compiled for {topology}")
    right.plot(numbers, [100 * row["efficiency"] for row in rows], "o-", color=BLUE, label="of one chip")
    right.plot(
        numbers,
        [100 * row["against_first"] for row in rows],
        "o-",
        color=ORANGE,
        label=f"of {numbers[0]} chips",
    )
    right.axhline(95, color=GREY, ls="--", lw=1)
    right.set(ylabel="efficiency, %", title="Weak scaling, without overlap")
    right.legend(frameon=False)
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set_xticks(numbers, numbers)
        axis.set(xlabel="chips", ylim=(0, 1.1 * axis.dataLim.ymax))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def samples_figure(path, images, pixel_values):
    """A grid of uint8 samples [N, h, w, c] with values 0..pixel_values-1."""
    save_picture(path, grid(np.asarray(images), pixel_values))
