"""A table with its measured figures, as Markdown, CSV and a picture."""

import csv
import io

from papers.published import Checkpoint, Repeats
from reports.pictures import BLUE, GREY, ORANGE, pyplot


def shown(value, digits=2):
    """A figure with so many digits after the point, "-" for None.

    >>> shown(2.345), shown(0.03871, 4), shown(None)
    ('2.35', '0.0387', '-')
    """
    return "-" if value is None else f"{value:.{digits}f}"


def with_error(measured, digits=2):
    """Value and error of a Measured."""
    error = "" if measured.error is None else f" ± {shown(measured.error, digits)}"
    return f"{shown(measured.value, digits)}{error}"


def _protocol(table):
    of = table.protocol
    parts = {
        "samples": f"{of.samples:,}",
        "checkpoint": of.checkpoint.value,
        "sets": of.repeats.value,
        "images": of.images.value,
        "FID by": of.code.value,
        "end of sampling": of.t_min,
    }
    return "; ".join(f"{name}: {value}" for name, value in parts.items())


def _reference(cell):
    """How a figure that is not measured is written."""
    return f"{cell.figure.text} [{cell.mark.value}]" if cell.value is not None else cell.figure.text


def _cell_text(cell, measured, small, digits):
    published = _reference(cell)
    if measured is None:
        return published
    text = with_error(measured, digits)
    if measured.least is not None and not small:
        text += f" (least of {measured.sets}: {shown(measured.least, digits)})"
    if measured.by_checkpoint:
        step = min(measured.by_checkpoint, key=measured.by_checkpoint.get)
        text += f" (least of {len(measured.by_checkpoint)} checkpoints: "
        text += f"{shown(measured.by_checkpoint[step], digits)} at step {step})"
    return f"{published} → **{text}**{' †' if measured.deviations else ''}"


def small_name(metric):
    """What a published metric is at a small scale.

    >>> small_name("FID")
    'Frechet distance of pixels'
    """
    return "Frechet distance of pixels" if metric == "FID" else metric


def _heading(column, small=None):
    """The title of a column with its metric, where that is another word."""
    metric = column.metric.value
    if small:
        return f"{column.title} ({metric} → {'FD' if metric == 'FID' else metric})"
    return column.title if column.title == metric else f"{column.title} ({metric})"


def _grid(table, cells, text, heading):
    """Lines of a Markdown table of rows and columns.

    Args:
      text: Cell -> what stands in it; heading: Column -> what stands above it.
    """
    columns = [column for column in table.columns if any(c.column is column for c in cells)]
    yield "| | " + " | ".join(map(heading, columns)) + " |"
    yield "|---|" + "---|" * len(columns)
    for row in table.rows:
        own = {id(cell.column): cell for cell in cells if cell.row is row}
        if own:
            texts = [text(own[id(c)]) if id(c) in own else "" for c in columns]
            yield f"| {row.label} | " + " | ".join(texts) + " |"


def digits_of(small):
    """Digits after the point of measured figures."""
    return 3 if small else 2


def markdown(name, table, cells, figures, missing, small, settings):
    """The page.

    Args:
      cells: those that are shown; figures: {id(cell): Measured}; missing: [(title, reason, lines)] of rows
        without figures.
      small: the scale, or None; settings: a line on how the figures were measured.
    """
    digits = digits_of(small)
    lines = [f"# {name}: {table.title}", "", f"Published: {table.source}. {_protocol(table)}.", ""]
    lines += [f"Measured (→): {settings}", ""]
    if small:
        lines += [
            f"Measured at a small scale, of {small} and small networks: orders may be compared, not "
            "figures. FD is the Frechet distance of pixels, in the place of FID.",
            "",
        ]
    lines += _grid(
        table,
        cells,
        lambda cell: _cell_text(cell, figures.get(id(cell)), small, digits),
        lambda column: _heading(column, small),
    )
    lines += [
        "",
        "[v]: read in the paper or its authors' repository; [s]: in another text. Without an arrow stand "
        "models of other papers, and what has not been measured, which is listed below.",
    ]
    if any(found.deviations for found in figures.values()):
        lines += ["†: its training deviates from the paper's in what stands under Runs."]
    lines += [f"{table.note}"] if table.note else []
    lines += [f"{row.label}: {row.note}." for row in table.rows if row.note]
    others = _others(table, cells, figures)
    for title, part in others.items():
        lines += ["", f"## {title}", "", *part]
    runs = {(m.workdir, m.step, m.deviations) for m in figures.values()}
    if runs:
        lines += ["", "## Runs", ""]
        lines += [
            f"- {workdir}, step {step}{f'; {deviations}' if deviations else ''}"
            for workdir, step, deviations in sorted(runs)
        ]
    if missing:
        lines += ["", "## Not measured", ""]
        for title, reason, commands in missing:
            lines.append(f"- **{title}**: {reason}")
            lines += [f"  - `{command}`" for command in commands]
    return "\n".join(lines) + "\n"


def _others(table, cells, figures):
    """{title: lines of a table} of further figures of the same samples."""
    names = {name for m in figures.values() for name in m.others if not name.startswith("real_")}
    return dict(_other(name, table, cells, figures) for name in sorted(names))


def _other(name, table, cells, figures):
    real = {m.others.get(f"real_{name}") for m in figures.values()} - {None}
    title = f"{name.replace('_', ' ')}{f', {min(real):.4f} between real images' if real else ''}"
    measured = [cell for cell in cells if name in getattr(figures.get(id(cell)), "others", {})]
    return title, list(
        _grid(
            table, measured, lambda cell: f"{figures[id(cell)].others[name]:.4f}", lambda column: column.title
        )
    )


_HEADINGS = (
    *("row", "column", "metric", "published", "mark", "config"),
    *("measured", "error", "error_is", "n", "sets", "least", "step", "nfe", "workdir"),
)


def table_csv(cells, figures):
    """The cells, a line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADINGS)
    for cell in cells:
        found = figures.get(id(cell))
        measured = [""] * 9
        if found:
            measured = [found.value, found.error, found.what, found.n, found.sets, found.least, found.step]
            measured += [found.nfe, found.workdir]
        of = [cell.row.label, cell.column.title, cell.column.metric.value, cell.figure.text]
        writer.writerow([*of, cell.mark.value, cell.config or "", *measured])
    return text.getvalue()


def picture(path, name, table, cells, figures, small):
    """Published beside measured figures, a panel for each metric, a bar or point for each cell."""
    plt = pyplot()
    metrics = list(dict.fromkeys(cell.column.metric for cell in cells))
    counts = {m: [c for c in cells if c.column.metric is m and id(c) in figures] for m in metrics}
    counts = {m: found for m, found in counts.items() if found}
    height = sum(0.8 + 0.19 * len(found) for found in counts.values())
    panels, axes = plt.subplots(
        len(counts) or 1,
        2 if small else 1,
        figsize=(11 if small else 9, max(2.5, height)),
        layout="constrained",
        squeeze=False,
        sharey="row",
        height_ratios=[max(1, len(found)) for found in counts.values()] or [1],
    )
    for row, (metric, found) in zip(axes, counts.items(), strict=False):
        places = range(len(found))
        published = [cell.value for cell in found]
        measured = [figures[id(cell)] for cell in found]
        row[0].plot(published, places, "o", color=GREY, ms=5, label="published")
        beside = row[-1]
        beside.errorbar(
            [m.value for m in measured], places, xerr=[m.error or 0 for m in measured],
            fmt="o", color=BLUE, ecolor=ORANGE, ms=4, label="measured",
        )  # fmt: skip
        row[0].set_yticks(list(places), [cell.name for cell in found], fontsize=7)
        row[0].invert_yaxis()
        title = f"{metric.value}, published" if small else metric.value
        row[0].set_title(title, fontsize=9)
        if small:
            beside.set_title(f"{small_name(metric.value)}, {small}", fontsize=9)
        for axis in row:
            values = [v for line in axis.get_lines() for v in line.get_xdata() if v is not None]
            if values and min(values) > 0 and max(values) / min(values) > 20:
                axis.set_xscale("log")
            axis.grid(axis="x", alpha=0.3)
            axis.legend(frameon=False, fontsize=7)
    panels.suptitle(f"{name}: {table.title}", fontsize=10)
    panels.savefig(path, dpi=110)
    plt.close(panels)


def repeats_note(table, sets):
    """What is said where fewer or more sets are drawn than the paper's."""
    wanted = table.protocol.repeats
    best = table.protocol.checkpoint in (Checkpoint.LEAST_FID, Checkpoint.LEAST_FID_1000)
    parts = []
    if wanted is Repeats.LEAST_OF_3:
        parts.append("published is the least of 3 sets, measured the mean")
    if best:
        parts.append("published is the best of several checkpoints, measured the last one")
    if sets != wanted.count:
        parts.append(f"{sets} {'set' if sets == 1 else 'sets'} of samples in place of {wanted.count}")
    return "; ".join(parts)
