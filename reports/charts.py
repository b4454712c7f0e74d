"""Curves and figures with their intervals as SVG text, to stand within an HTML page.

Colours are CSS variables of the page, --line-0 to --line-7, so that a chart follows its light and dark form.
Every text is escaped; a chart has a title and a description for those who cannot see it.
"""

import html
import math

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 22, 10, 38
COLOURS = 8
# Lines beyond the colours are told apart by these.
DASHES = ("", "7 3", "2 3", "9 3 2 3")
MOST_POINTS = 500
# Positive values that span more than this factor are drawn on a logarithmic axis.
LOGARITHMIC_SPAN = 20
ROW = 36


def colour(number):
    """The CSS value of a line's colour, by the number of its run."""
    return f"var(--line-{number % COLOURS})"


def dash(number):
    """The SVG attribute by which lines of one colour differ, or nothing."""
    pattern = DASHES[number // COLOURS % len(DASHES)]
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def short(value):
    """A number as text of at most five significant digits.

    >>> short(0.123456), short(12000.0), short(3)
    ('0.12346', '12000', '3')
    """
    return f"{value:.5g}"


def ticks(low, high, most=6):
    """Round numbers within [low, high], at distances of 1, 2 or 5 times a power of ten.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = high - low
    if not (span > 0 and math.isfinite(span)):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next((factor * power for factor in (1, 2, 5) if span / (factor * power) <= most), 10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first > 2 * most:  # beyond the digits of a float
        return [low, high]
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _powers(low, high):
    """Powers of ten within [low, high], or the ends where there is none."""
    found = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    every = max(1, len(found) // 5)
    return [10.0**power for power in found if power % every == 0] or [low, high]


class _Axis:
    """Values onto a stretch of the picture.

    Args:
      values: all that are drawn; start, end: of the stretch.
      logarithmic: whether the axis may be so, where the values ask for it.
    """

    def __init__(self, values, start, end, logarithmic=False):
        low, high = min(values), max(values)
        self._start, self._end = start, end
        self.logarithmic = logarithmic and low > 0 and high / low > LOGARITHMIC_SPAN
        self.ticks = (_powers if self.logarithmic else ticks)(low, high)
        self._low, self._high = self._scaled(low), self._scaled(high)
        if not self._high > self._low:
            margin = abs(self._low) / 10 or 1.0
            self._low, self._high = self._low - margin, self._high + margin

    def _scaled(self, value):
        return math.log10(value) if self.logarithmic else value

    def __call__(self, value):
        part = (self._scaled(value) - self._low) / (self._high - self._low)
        return round(self._start + part * (self._end - self._start), 1)


def _text(x, y, text, anchor="middle", more=""):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{more}>{html.escape(text)}</text>'


def _thinned(points):
    """At most some hundred of the points, the last one among them."""
    every = -(-len(points) // MOST_POINTS)
    return points[::-every][::-1]


def _picture(width, height, identifier, title, description, parts):
    name = html.escape(identifier)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{html.escape(title)}</title>'
        f'<desc id="{name}-d">{html.escape(description)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def lines(identifier, title, curves, x_label):
    """A chart of some curves.

    Args:
      identifier: unique on the page.
      title: what is drawn.
      curves: {(number of the run, its label): [(x, y), ...] finite numbers, in the order of x}.
      x_label: below the horizontal axis.

    Returns:
      SVG text; the vertical axis is logarithmic where all values are positive and span a factor of 20.
    """
    points = [point for curve in curves.values() for point in curve]
    across = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    up = _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP, logarithmic=True)
    parts = []
    for value in up.ticks:
        y = up(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(_text(LEFT - 6, y + 4, short(value), "end"))
    parts += [_text(across(x), HEIGHT - BOTTOM + 16, short(x)) for x in across.ticks]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label))
    said = []
    for (number, label), curve in curves.items():
        path = " ".join(f"{across(x)},{up(y)}" for x, y in _thinned(curve))
        (first_x, first), (last_x, last) = curve[0], curve[-1]
        told = f"{label}: {short(first)} at {short(first_x)}, {short(last)} at {short(last_x)}"
        said.append(told)
        stroke = f'style="stroke:{colour(number)}"{dash(number)} data-run="{number}"'
        if len(curve) == 1:
            shape = f'<circle cx="{across(last_x)}" cy="{up(last)}" r="3" {stroke}>'
            parts.append(f"{shape}<title>{html.escape(told)}</title></circle>")
        else:
            shape = f'<polyline class="curve" points="{path}" {stroke}>'
            parts.append(f"{shape}<title>{html.escape(told)}</title></polyline>")
    axis = ", logarithmic axis" if up.logarithmic else ""
    return _picture(WIDTH, HEIGHT, identifier, title + axis, "; ".join(said), parts)


def intervals(identifier, title, rows):
    """A chart of one figure of several runs, each a point in its interval, below its name.

    Args:
      identifier: unique on the page; title: what the figure is.
      rows: [(number of the run, its label, value, low, high, the figure as text)], finite numbers.
    """
    axis = _Axis([x for row in rows for x in row[2:5]], 8, WIDTH - 8)
    bottom = ROW * len(rows) + 4
    parts = [f'<line class="grid" x1="{axis(x)}" x2="{axis(x)}" y1="4" y2="{bottom}"/>' for x in axis.ticks]
    parts += [_text(min(max(axis(x), 24), WIDTH - 24), bottom + 14, short(x)) for x in axis.ticks]
    for place, (number, label, value, low, high, told) in enumerate(rows):
        y = ROW * place + 28
        label = label if len(label) <= 34 else f"{label[:20]}…{label[-13:]}"
        shape = (
            _text(4, y - 11, label, "start")
            + _text(WIDTH - 4, y - 11, told, "end")
            + f'<line class="curve" x1="{axis(low)}" x2="{axis(high)}" y1="{y}" y2="{y}" '
            f'style="stroke:{colour(number)}"/>'
            f'<circle cx="{axis(value)}" cy="{y}" r="4.5" style="fill:{colour(number)}"/>'
        )
        parts.append(f'<g data-run="{number}">{shape}</g>')
    description = "; ".join(f"{label}: {told}" for _, label, *_, told in rows)
    return _picture(WIDTH, bottom + 20, identifier, title, description, parts)
