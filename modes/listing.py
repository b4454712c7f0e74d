"""What --list prints: every experiment of configs/, with the facts of its PAPER, a line each."""

import importlib
from pathlib import Path

import configs
from configs.paper import Paper

ROOT = Path(configs.__file__).parent
# Files that experiments begin from; nobody runs them.
BASES = ("base", "default", "song2021")
HEADINGS = ("config", "paper", "row", "data", "parameters", "published")
# Marks of figures that were not read in the authors' own paper or code.
MARKS = {"paper": "", "code": "", "quoted": " [quoted]", "memory": " [memory]"}


def modules():
    """(path from the project's folder, module) of every file of configs/ that makes a config, sorted."""
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT.parent).with_suffix("")
        if path.stem not in ("__init__", *BASES):
            module = importlib.import_module(".".join(name.parts))
            if hasattr(module, "get_config"):
                yield f"{name.as_posix()}.py", module


def experiments():
    """{path: Paper} of the files that reproduce a published experiment."""
    return {path: module.PAPER for path, module in modules() if hasattr(module, "PAPER")}


def _in_millions(count):
    return "-" if count is None else f"{count / 1e6:.1f}M"


def _row(path, paper: Paper):
    published = "-" if paper.published is None else paper.published + MARKS[paper.seen]
    return path, paper.paper, paper.row, paper.data, _in_millions(paper.parameters), published


def listing():
    """The text of --list: published experiments in aligned columns, then the other files."""
    found = dict(modules())
    rows = [
        HEADINGS,
        *(_row(path, module.PAPER) for path, module in found.items() if hasattr(module, "PAPER")),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Numbers end under each other.
    lines = [
        "  ".join(
            cell.rjust(width) if heading == "parameters" else cell.ljust(width)
            for heading, cell, width in zip(HEADINGS, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    others = {
        path: module.__doc__.splitlines()[0] for path, module in found.items() if not hasattr(module, "PAPER")
    }
    width = max(map(len, others))
    lines += ["", *(f"{path.ljust(width)}  {title}" for path, title in others.items())]
    return "\n".join(lines)
