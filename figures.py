"""Pictures and plots that stand next to the numbers."""

from pathlib import Path

import numpy as np
from PIL import Image

BLUE, ORANGE, GREY = "#20639b", "#e07a1f", "#888888"


def _pyplot():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot

    matplotlib.pyplot.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    return matplotlib.pyplot


def grid(images, levels, columns=None, gap=1):
    """One uint8 picture [H, W, 3 or 4] of images [N, h, w, c] with values 0..levels-1."""
    images = np.asarray(images)
    count, height, width, channels = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    images = (images.astype(np.float32) * (255 / (levels - 1))).round().astype(np.uint8)
    if channels == 1:
        images = np.repeat(images, 3, axis=-1)
    elif channels == 2:
        images = np.concatenate([np.repeat(images[..., :1], 3, axis=-1), images[..., 1:]], axis=-1)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, images.shape[-1]), 128)
    canvas = canvas.astype(np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def save_picture(path, picture, smallest_side=480):
    """Writes a uint8 picture as PNG, enlarged by a whole factor so that tiny images can be seen."""
    factor = max(1, round(smallest_side / min(picture.shape[:2])))
    large = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    Image.fromarray(large).save(Path(path), optimize=True)


def loss_figure(path, rows, log_snr, by_level, baselines=None):
    """The loss curve, and the held-out loss by noise level.

    Args:
      rows: of metrics.jsonl.
      log_snr, by_level: [M] noise levels and the network's loss there, or None.
      baselines: dict from label to [M] losses of other denoisers.
    """
    plt = _pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for name, colour, label in (("loss", GREY, "training"), ("held_out_loss", BLUE, "held out, EMA")):
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            marker = "o" if name == "held_out_loss" else None
            left.plot(*zip(*points, strict=True), color=colour, label=label, marker=marker, markersize=3)
    left.set(xlabel="step", ylabel="loss", yscale="log", title="Loss curve")
    left.legend(frameon=False)
    if by_level is not None:
        right.plot(log_snr, by_level, color=BLUE, marker="o", markersize=3, label="network, EMA")
    for (label, values), style in zip((baselines or {}).items(), ("--", ":"), strict=False):
        right.plot(log_snr, values, style, color=ORANGE, label=label)
    right.set(
        xlabel="log-SNR (noise to the left, data to the right)",
        ylabel="mean-squared error of eps",
        yscale="log",
        title="Held-out loss by noise level",
    )
    right.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def bars_figure(path, panels):
    """One panel of bars a figure of merit.

    Args:
      panels: dict from title to a dict from label to (value, standard error or 0).
    """
    plt = _pyplot()
    figure, axes = plt.subplots(1, len(panels), figsize=(3.4 * len(panels), 3.4), layout="constrained")
    colours = {"model": BLUE, "fitted Gaussian": ORANGE}
    for axis, (title, bars) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for i, (label, (value, error)) in enumerate(bars.items()):
            axis.bar(i, value, yerr=error or None, color=colours.get(label, GREY), width=0.7)
            axis.annotate(
                f"{value:.3g}",
                (i, value),
                ha="center",
                va="bottom",
                xytext=(0, 4),
                textcoords="offset points",
            )
        axis.set_xticks(range(len(bars)), [label.replace(" ", "\n") for label in bars])
        axis.set_title(title)
        axis.margins(y=0.15)
    figure.savefig(path, dpi=110)
    plt.close(figure)
