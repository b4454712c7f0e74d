"""One HTML page of several runs that needs nothing beside itself: no network, no file, no framework.

Whatever a run brings, its name included, may be text of strangers: all of it is escaped, and the page's own
policy lets no script run but the one written here, nor anything be fetched.
"""

import base64
import collections
import hashlib
import html
import math
import re

from reports import charts
from reports.page_style import SCRIPT, STYLE
from reports.shown import differing

# Pictures at most so wide, in pixels, are enlarged without smoothing.
SMALL_PICTURE = 640
# Pictures of more than this ratio of width to height take two columns.
BROAD = 1.8
# Charts of single figures that are shown before the rest, which is folded.
UNFOLDED = 6


def _safe(text):
    return html.escape(str(text).replace("\0", "\N{REPLACEMENT CHARACTER}"))


def _number(text):
    """The text, where it is a number; else None."""
    try:
        return text if math.isfinite(float(text)) else None
    except ValueError:
        return None


def _title(path):
    """A dotted path in words.

    >>> _title("sample_quality.settings.ddim eta=0.5.fid")
    'sample quality · settings · ddim eta=0.5 · fid'
    """
    return re.sub(r"\.(?!\d)|(?<!\d)\.", " · ", path).replace("_", " ")


def _swatch(number):
    line = f'<line x1="0" x2="26" y1="6" y2="6" style="stroke:{charts.colour(number)}"{charts.dash(number)}/>'
    return f'<svg class="swatch" viewBox="0 0 26 12" aria-hidden="true">{line}</svg>'


def _named(number, run):
    return f'{_swatch(number)}<a href="#run-{number}">{_safe(run.name)}</a>'


def _union(dicts):
    """The keys of some dicts, each once, in the order in which they come."""
    return list(dict.fromkeys(key for found in dicts for key in found))


def _table(caption, heads, rows):
    """A table that can be sorted.

    Args:
      caption: above it, as text.
      heads: texts of the columns' heads.
      rows: [(number of the run, [(cell as HTML, number that sorts it, "" for none, or None: its text)])].
    """
    head = "".join(f'<th scope="col"><button type="button">{_safe(text)}</button></th>' for text in heads)
    body = []
    for number, cells in rows:
        shown = []
        for place, (cell, value) in enumerate(cells):
            sort = "" if value is None else f' data-value="{_safe(value)}"'
            shown.append(f'<th scope="row"{sort}>{cell}</th>' if place == 0 else f"<td{sort}>{cell}</td>")
        body.append(f'<tr data-run="{number}">{"".join(shown)}</tr>')
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{_safe(caption)}"><table>'
        f"<caption>{_safe(caption)} A click on a head sorts.</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _figure_cell(figure):
    if figure is None:
        return "–", ""
    count = figure.made_with.get("n")
    said = f' <span class="soft">n {_safe(count)}</span>' if count else ""
    return f"{_safe(figure.text)}{said}", repr(figure.value) if math.isfinite(figure.value) else ""


def _figures_table(caption, names, runs):
    heads = ["run", *map(_title, names)]
    rows = [
        (number, [(_named(number, run), None), *(_figure_cell(run.figures.get(name)) for name in names)])
        for number, run in enumerate(runs)
        if run.figures.keys() & set(names)
    ]
    return _table(caption, heads, rows)


def _overview(runs, facts):
    rows = []
    for number, run in enumerate(runs):
        alarm = " alarm" if run.unfinished or run.problems else ""
        state = f'<span class="state{alarm}">{_safe(run.state)}</span>'
        cells = [(_named(number, run), None), (state, None)]
        for name in facts:
            text = run.facts.get(name)
            cells.append((_safe("–" if text is None else text), "" if text is None else _number(text)))
        rows.append((number, cells))
    return _table("All runs of the folder.", ["run", "state", *facts], rows)


def _is_certain(name, runs):
    """Whether some run knows the error of its figure of that name."""
    return any(name in run.figures and run.figures[name].interval for run in runs)


def _interval_charts(names, runs):
    """A chart of each figure of two runs and more, those in which the runs differ first; of one run, all."""
    shown = []
    for place, name in enumerate(names):
        rows = []
        for number, run in enumerate(runs):
            figure = run.figures.get(name)
            ends = figure.interval or (figure.value, figure.value) if figure else ()
            if figure and all(map(math.isfinite, (figure.value, *ends))):
                rows.append((number, run.name, figure.value, *ends, figure.text))
        if len(rows) >= min(len(runs), 2):
            chart = charts.intervals(f"figure-{place}", _title(name), rows)
            card = f"<figure><figcaption><b>{_safe(_title(name))}</b></figcaption>{chart}</figure>"
            shown.append((len({row[2] for row in rows}) == 1, card))
    return [card for _, card in sorted(shown, key=lambda found: found[0])]


def _unlike(names, runs):
    """The figures that were not measured alike, each with what differs, as a list; nothing where all were."""
    told = []
    for name in names:
        unlike = differing([run.figures[name] for run in runs if name in run.figures])
        if unlike:
            values = "; ".join(
                f"{circumstance}: {', '.join(found)}" for circumstance, found in unlike.items()
            )
            told.append(f"<li><b>{_safe(_title(name))}</b> {_safe(values)}</li>")
    if not told:
        return ""
    count = f"{len(told)} figure{'' if len(told) == 1 else 's'}"
    opened = " open" if len(told) <= UNFOLDED else ""
    return (
        f'<details{opened}><summary class="alarm">Not measured alike in all runs: {count}</summary>'
        f"<ul>{''.join(told)}</ul></details>"
    )


def _figures(runs):
    """The tables and charts of all figures: first those with a known error, then, folded, the rest."""
    names = _union(run.figures for run in runs)
    certain = [name for name in names if _is_certain(name, runs)]
    plain = [name for name in names if name not in certain]
    parts = []
    if certain:
        parts.append(
            _figures_table("Figures with their errors, and the number n of examples.", certain, runs)
        )
        parts.append(_unlike(certain, runs))
        shown = _interval_charts(certain, runs)
        if shown:
            parts.append("<p>A line is the figure's interval, or one standard error to each side.</p>")
            parts.append(f'<div class="cards">{"".join(shown[:UNFOLDED])}</div>')
            parts.append(_folded(shown[UNFOLDED:], "charts"))
    if plain:
        table = _figures_table("Figures without a known error.", plain, runs) + _unlike(plain, runs)
        parts.append(f"<details><summary>{len(plain)} more numbers</summary>{table}</details>")
    return "".join(parts)


def _curve_charts(runs):
    # What training recorded comes before what an evaluation did.
    found = sorted(_union(run.curves for run in runs), key=lambda named: named[1] != "step")
    for place, (title, label) in enumerate(found):
        curves = {
            (number, run.name): run.curves[title, label]
            for number, run in enumerate(runs)
            if run.curves.get((title, label))
        }
        if curves:
            chart = charts.lines(f"curve-{place}", _title(title), curves, label)
            caption = f"<b>{_safe(_title(title))}</b> against {_safe(label)}"
            yield f"<figure><figcaption>{caption}</figcaption>{chart}</figure>"


def _folded(cards, what):
    """Cards that are shown at a click, or nothing where there are none."""
    if not cards:
        return ""
    shown = f'<div class="cards">{"".join(cards)}</div>'
    return f"<details><summary>{len(cards)} more {what}</summary>{shown}</details>"


def _legend(runs):
    items = (
        f'<li data-run="{number}">{_named(number, run)}</li>' for number, run in enumerate(runs) if run.curves
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _image(picture):
    data = base64.b64encode(picture.content).decode()
    width, height = picture.size
    small = ' class="small"' if width <= SMALL_PICTURE else ""
    return (
        f'<img{small} alt="{_safe(picture.alternative)}" width="{width}" height="{height}" '
        f'src="data:{_safe(picture.media)};base64,{data}">'
    )


def _cards(kind, runs):
    """The pictures of one kind, of every run that has one."""
    for number, run in enumerate(runs):
        for picture in run.pictures:
            if picture.kind == kind:
                caption = f"<figcaption><b>{_named(number, run)}</b> {_safe(picture.name)}</figcaption>"
                broad = ' class="broad"' if picture.size[0] > BROAD * picture.size[1] else ""
                yield f'<figure{broad} data-run="{number}">{_image(picture)}{caption}</figure>'


def _config_row(field, values):
    """A row of the table of configs: what is not the most common value is marked."""
    common = collections.Counter(values).most_common(1)[0][0]
    cells = (_safe(value) if value == common else f"<mark>{_safe(value)}</mark>" for value in values)
    return f'<tr><th scope="row">{_safe(field)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _configs(runs):
    """The fields in which runs differ, with the rarer values marked; then, folded, those that all share."""
    numbered = [(number, run) for number, run in enumerate(runs) if run.config]
    if not numbered:
        return "<p>No run has a config.</p>"
    fields = sorted({field for _, run in numbered for field in run.config})
    values = {field: [run.config.get(field, "–") for _, run in numbered] for field in fields}
    apart = [field for field in fields if len(set(values[field])) > 1]
    shared = "".join(
        f'<tr><th scope="row">{_safe(field)}</th><td>{_safe(values[field][0])}</td></tr>'
        for field in fields
        if field not in apart
    )
    parts = []
    if apart:
        heads = "".join(f'<th scope="col">{_named(number, run)}</th>' for number, run in numbered)
        rows = "".join(_config_row(field, values[field]) for field in apart)
        caption = (
            f"{len(apart)} fields differ. Marked: not the most common value of its row. –: no such field."
        )
        parts.append(
            f'<div class="wide" role="region" tabindex="0" aria-label="Fields that differ">'
            f'<table class="fields"><caption>{caption}</caption><thead><tr><th scope="col">field</th>{heads}'
            f"</tr></thead><tbody>{rows}</tbody></table></div>"
        )
    else:
        parts.append("<p>No field differs.</p>")
    if shared:
        parts.append(
            f"<details><summary>{len(fields) - len(apart)} fields that all share</summary>"
            f'<div class="wide" role="region" tabindex="0" aria-label="Fields that all runs share">'
            f'<table class="fields"><thead><tr><th scope="col">field</th><th scope="col">value</th></tr>'
            f"</thead><tbody>{shared}</tbody></table></div></details>"
        )
    return "".join(parts)


def _details(number, run, kinds):
    """All that is known of one run, but for pictures of the kinds that stand side by side."""
    facts = "".join(f"<dt>{_safe(name)}</dt><dd>{_safe(text)}</dd>" for name, text in run.facts.items())
    problems = "".join(f'<li class="alarm">{_safe(problem)}</li>' for problem in run.problems)
    figures = "".join(
        f'<tr><th scope="row">{_safe(_title(name))}</th><td>{_safe(figure.text)}</td>'
        f"<td>{_safe(', '.join(f'{key} {text}' for key, text in figure.made_with.items()))}</td></tr>"
        for name, figure in run.figures.items()
    )
    pictures = [
        f"<figure>{_image(picture)}<figcaption>{_safe(picture.name)}</figcaption></figure>"
        for picture in run.pictures
        if picture.kind not in kinds
    ]
    return "".join(
        (
            f'<section data-run="{number}" id="run-{number}"><h3>{_swatch(number)}{_safe(run.name)}</h3>',
            f"<p>{_safe(run.state)}</p>",
            f"<ul>{problems}</ul>" if problems else "",
            f"<dl>{facts}</dl>" if facts else "",
            f"<details><summary>{len(run.figures)} figures</summary><div class='wide' role='region' "
            f"tabindex='0' aria-label='Figures of the run'><table class='fields'><thead><tr>"
            f"<th scope='col'>figure</th><th scope='col'>value</th><th scope='col'>measured with</th></tr>"
            f"</thead><tbody>{figures}</tbody></table></div></details>"
            if figures
            else "",
            _folded(pictures, "pictures"),
            "</section>",
        )
    )


def _problems(runs, unread):
    """Runs that are not whole, and folders that could not be read, by name."""
    lines = [f"<b>{_safe(name)}</b>: {_safe(reason)}" for name, reason in unread]
    for number, run in enumerate(runs):
        told = ([run.state] if run.unfinished else []) + list(run.problems)
        if told:
            lines.append(f"{_named(number, run)}: {_safe('; '.join(told))}")
    if not lines:
        return ""
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f'<h2 id="not-whole">Not whole</h2><ul>{items}</ul>'


def page(title, runs, unread=(), facts=(), kinds=(), made=""):
    """A folder of runs as one HTML page.

    Args:
      title: of the page.
      runs: Runs, in the order in which they are first shown.
      unread: [(name, reason)] of folders of which nothing could be read.
      facts: names of the facts that the first table has as columns.
      kinds: of the pictures that stand side by side, in their order.
      made: how and when the page was made, as text.

    Returns:
      The page as text. Its size is that of the pictures, a third more, and some kilobytes for each run.

    >>> from reports.shown import Figure, Run
    >>> text = page("<runs>", [Run("a & b", "trained", figures={"FID": Figure(3.1, error=0.1)})])
    >>> "&lt;runs&gt;" in text, "a &amp; b" in text, "3.10 ± 0.10" in text
    (True, True, True)
    """
    sections = [("Runs", "runs", _overview(runs, facts))]
    figures = _figures(runs)
    if figures:
        sections.append(("Figures", "figures", figures))
    curves = "".join(_curve_charts(runs))
    if curves:
        sections.append(("Curves", "curves", f'{_legend(runs)}<div class="cards">{curves}</div>'))
    for place, kind in enumerate(kinds):
        found = "".join(_cards(kind, runs))
        if found:
            sections.append((kind, f"pictures-{place}", f'<div class="cards">{found}</div>'))
    sections.append(("Configs", "configs", _configs(runs)))
    details = "".join(_details(number, run, kinds) for number, run in enumerate(runs))
    sections.append(("Each run", "each", details))
    links = "".join(f'<a href="#{identifier}">{_safe(name)}</a>' for name, identifier, _ in sections)
    body = "".join(
        f'<section id="{identifier}"><h2>{_safe(name)}</h2>{content}</section>'
        for name, identifier, content in sections
    )
    return _document(
        title,
        f"<header><h1>{_safe(title)}</h1><p>{_safe(made)}</p>"
        f"<nav aria-label='Parts of the page'>{links}</nav>"
        '<label hidden>Show runs with <input id="filter" type="search" autocomplete="off"> '
        '<span id="shown" role="status"></span></label></header>'
        f"<main>{_problems(runs, unread)}{body}</main>",
    )


def _document(title, body):
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_safe(title)}</title><style>{STYLE}</style></head>\n"
        f"<body>{body}<script>{SCRIPT}</script></body></html>\n"
    )
