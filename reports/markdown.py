"""Tables of texts, and reports in Markdown."""

from pathlib import Path


def table(header, rows):
    """Lines of a table of texts; what would end a cell is escaped.

    >>> table(("figure", "value"), [("a|b", "1")])
    ['| figure | value |', '|---|---|', '| a\\\\|b | 1 |']
    """
    escaped = [[str(cell).strip().replace("|", "\\|") for cell in row] for row in rows]
    return [
        f"| {' | '.join(header)} |",
        "|" + "---|" * len(header),
        *(f"| {' | '.join(row)} |" for row in escaped),
    ]


def aligned(rows, justified=str.ljust):
    """Lines of a table of texts for a terminal, whose columns stand below each other.

    >>> aligned([("chips", "ms"), ("16", "14.6")], str.rjust)
    ['chips    ms', '   16  14.6']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(justified, row, widths)).rstrip() for row in rows]


def write_evaluation(path, title, sections, pictures):
    """Writes the report of an evaluation: a table for each evaluator, then the pictures beside the file.

    Args:
      sections: dict from the evaluator's name to (its figures with `name`, `value` and `note`, dict from what
        was left out to the reason).
      pictures: names of files in the same folder.
    """
    lines = [f"# Evaluation of {title}", ""]
    for name, (figures, left_out) in sections.items():
        lines += [f"## {name}", ""]
        if figures:
            lines += [*table(("figure", "value", "of"), ((f.name, f.value, f.note) for f in figures)), ""]
        for what, reason in left_out.items():
            lines += [f"Left out: {what}, since {reason}.", ""]
    for picture in pictures:
        lines += [f"![{Path(picture).stem}]({picture})", ""]
    Path(path).write_text("\n".join(lines))
