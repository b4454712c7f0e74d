"""--mode=diff: what differs between two runs, as one table in the terminal; nothing is written."""

from components import ConfigError, UserError, told
from modes import run_folder
from reports import shown
from reports.charts import short
from workdir import storage
from workdir.records import say
from workdir.saved_config import refuse_classifier

# A folder with one of these is a run, or the results of one.
MARKS = ("config.json", "metrics.json", "metrics.jsonl")
# Of a longer value the part around the first difference is shown.
WIDEST = 48
NONE = "-"
# What training records, by its name there.
RECORDED = {"loss": "loss", "held_out_loss": "held-out loss", "images_per_second": "images/s"}


def run(config, workdir, runs=None):
    """--mode=diff: prints in which config fields, code, versions, devices and data two runs differ.

    How far they are, their last metrics and the figures of metrics.json stand side by side, equal or not.

    Configs are compared with the defaults of their classes: a field that an older run knew nothing of has its
    default. What was left out of a table is equal; results of an evaluation alone, in the folder of --output,
    are compared like runs.

    Args:
      config, workdir: not read.
      runs: the folders of two runs, parted by a comma.

    Raises:
      ConfigError: not two folders, or one with nothing of a run in it.
      UserError: a folder of which nothing can be read.
    """
    folders = _two(runs)
    for folder in folders:
        _require_run(folder)
    a, b = map(_read, folders)
    for found in (a, b):
        for problem in found.problems:
            say(f"note: {found.folder}: {problem}")
    for line in told("", table(a, b)):
        print(line)


def _two(runs):
    """The two folders in the text of --runs; a name of a folder may hold commas."""
    parts = runs.split(",")
    pairs = [(",".join(parts[:i]), ",".join(parts[i:])) for i in range(1, len(parts))]
    pairs = [tuple(map(_folder, pair)) for pair in pairs if all(pair)]
    there = [pair for pair in pairs if all(folder.is_dir() for folder in pair)]
    if len(pairs) != 1 and len(there) != 1:
        raise ConfigError(
            f"--runs={runs} must name two runs, parted by a comma: --runs=runs/first,runs/second."
        )
    return list((there or pairs)[0])


def _folder(place):
    return storage.path(storage.named(place, "--runs"))


def _require_run(folder):
    if not folder.is_dir():
        raise ConfigError(f"--runs: there is no folder {folder}.")
    refuse_classifier(folder)
    if not any((folder / mark).exists() for mark in MARKS):
        raise ConfigError(f"--runs: {folder} holds no run: none of {', '.join(MARKS)} is in it.")


def _read(folder):
    try:
        return run_folder.read(folder)
    except run_folder.UNREADABLE as error:
        raise UserError(f"--runs: {folder} cannot be read ({run_folder.first_line(error)}).") from error


def table(a, b):
    """Lines of the table of two run_folder.RunFolders: headings, and rows, which begin with a space.

    Returns:
      list of text.
    """
    sections = [
        _section("config", a.config, b.config, "fields"),
        _section("provenance", _flat(a.provenance), _flat(b.provenance), "entries"),
        _section("data", _data(a), _data(b), "entries"),
        ("reached", _beside(_reached(a), _reached(b))),
        ("figures of metrics.json", _figures(a.figures, b.figures)),
    ]
    rows = [row for _, rows in sections for row in rows]
    names = [str(a.folder), str(b.folder)]
    widths = [max(map(len, column)) for column in zip(("", *names), *rows, strict=True)]

    def line(cells):
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"  {'  '.join(padded)}".rstrip()

    lines = [line(("", *names))]
    for heading, rows in sections:
        lines += [heading, *map(line, rows)]
    return lines


def _section(name, a, b, what):
    """(heading, rows) of the entries of two dicts {name: text} that differ."""
    names = list(dict.fromkeys([*a, *b]))
    rows = [(n, *_cut(a.get(n, NONE), b.get(n, NONE))) for n in sorted(names) if a.get(n) != b.get(n)]
    if not names:
        return f"{name}: not recorded", []
    if not (a and b):
        return f"{name}: {'the second' if a else 'the first'} has none that can be read", []
    count = f"{len(rows)} of {len(names)} {what}"
    return (f"{name}: {count} differ" if rows else f"{name}: no difference"), rows


def _cut(a, b):
    """Two texts, shortened to the part around their first difference where they are long."""
    first = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    start = max(first - WIDEST // 4, 0)
    return _shortened(a, start), _shortened(b, start)


def _shortened(text, start):
    if len(text) <= WIDEST:
        return text
    end = start + WIDEST
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"


def _flat(node, prefix=""):
    """{dotted path: text} of nested dicts; of what is unknown nothing."""
    found = {}
    for name, value in node.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            found[f"{prefix}{name}"] = str(value)
    return found


def _data(found):
    """{name: text} of what tells the data apart on which a run was trained last."""
    recorded = found.record.get("data")
    recorded = recorded if isinstance(recorded, list) else []
    last = recorded[-1] if recorded and isinstance(recorded[-1], dict) else {}
    told_apart = _flat(last)
    if len(recorded) > 1:
        told_apart["data sets, one after another"] = str(len(recorded))
    if found.record.get("data_recipe"):
        told_apart["recipe"] = str(found.record["data_recipe"])
    return told_apart


def _reached(found):
    """{name: text} of how far a run is and of its last metrics."""
    texts = {"state": found.state}
    for name, shown_name in RECORDED.items():
        row = next((row for row in reversed(found.rows) if name in row), None)
        value = None if row is None else shown.real(row[name])
        if value is not None:
            texts[shown_name] = f"{short(value)} (step {row['step']})"
    return texts


def _beside(a, b):
    """Rows of all entries of two dicts {name: text}, equal or not."""
    return [(name, a.get(name, NONE), b.get(name, NONE)) for name in dict.fromkeys([*a, *b])]


def _figures(a, b):
    """Rows of all figures, each followed by what the two were not measured alike with."""
    rows = []
    for name in dict.fromkeys([*a, *b]):
        both = [figures[name] for figures in (a, b) if name in figures]
        rows.append((name, *(figures[name].text if name in figures else NONE for figures in (a, b))))
        if len(both) == 2:
            rows += [(f"  by {what}", *_cut(*texts)) for what, texts in shown.differing(both).items()]
    return rows
