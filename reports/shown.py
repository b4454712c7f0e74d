"""What a report shows of a run, and the figures in what an evaluation recorded, whatever it measured."""

import dataclasses
import math

from reports.charts import short

# What is no figure, nor says how one was measured, wherever it stands.
SKIPPED = ("config", "provenance", "data", "left_out", "times", "log_snr", "standard_error_parts")
# By these names the number of examples behind a figure is recorded; the first that is there counts.
COUNTS = ("n", "images", "samples", "count")
# Where a file lies says nothing of a figure.
PLACES = ("file", "folder", "pictures", "path")
# Dicts of these names say what figures were measured with.
IDENTITIES = ("extractor", "reference", "features", "statistics")
ERRORS = ("standard_error", "standard_deviation")
ENDS = (*ERRORS, "interval")
# Beside the number of examples that of the reference, where it is known.
OF_REFERENCE = "n_reference"
# What says something of a figure and is none.
OF_A_FIGURE = (OF_REFERENCE, "dimensions", "degrees_of_freedom")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A measured number.

    Attributes:
      value: the number.
      error: its standard error, or None.
      low, high: the ends of its interval, or None; they go before the standard error.
      made_with: what it depends on beside the run, {name: text}: the number of samples, an extractor.
    """

    value: float
    error: float | None = None
    low: float | None = None
    high: float | None = None
    made_with: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def interval(self):
        """(low, high): its interval, or one standard error to each side, or None where neither is known."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        return None if self.error is None else (self.value - self.error, self.value + self.error)

    @property
    def text(self):
        """The number with what is known of its error, to two digits of that.

        >>> Figure(2.57131, error=0.029307).text, Figure(3.0).text, Figure(5.0, low=4.8, high=5.31).text
        ('2.571 ± 0.029', '3', '5.00 (4.80 to 5.31)')
        """
        ends = self.interval
        width = abs(ends[1] - ends[0]) / 2 if ends else 0.0
        if not (0 < width < math.inf and math.isfinite(self.value)):
            return short(self.value)
        digits = min(max(1 - math.floor(math.log10(width)), 0), 12)
        shown = ("{:.3g}" if digits > 6 or abs(self.value) >= 1e7 else f"{{:.{digits}f}}").format
        if self.low is not None and self.high is not None:
            return f"{shown(self.value)} ({shown(self.low)} to {shown(self.high)})"
        return f"{shown(self.value)} ± {shown(self.error)}"


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of a run.

    Attributes:
      kind: the heading under which pictures of all runs stand side by side.
      name: of its file; alternative: in words, for those who cannot see it.
      content: of the file; media: its type, "image/png".
      size: width and height in pixels.
    """

    kind: str
    name: str
    alternative: str
    content: bytes
    media: str
    size: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Run:
    """What is shown of a run.

    Attributes:
      name: of its folder.
      state: in a few words: trained, stopped, results alone.
      unfinished: whether more was to come.
      problems: sentences on what could not be read, or is not whole.
      facts: {name: text}, in the order in which they are shown.
      figures: {name: Figure}.
      curves: {(title, label of the horizontal axis): [(x, y), ...]}.
      pictures: Pictures.
      config: {path of a field: its value as text}; empty where none was recorded.
    """

    name: str
    state: str
    unfinished: bool = False
    problems: tuple[str, ...] = ()
    facts: dict[str, str] = dataclasses.field(default_factory=dict)
    figures: dict[str, Figure] = dataclasses.field(default_factory=dict)
    curves: dict[tuple[str, str], list] = dataclasses.field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    config: dict[str, str] = dataclasses.field(default_factory=dict)


def differing(found):
    """What Figures of one name, of several runs, were not measured alike with: {name: [its values as text]}.

    >>> differing([Figure(2.5, made_with={"n": "60"}), Figure(2.4, made_with={"n": "334"})])
    {'n': ['60', '334']}
    """
    names = dict.fromkeys(name for figure in found for name in figure.made_with)
    values = {
        name: list(dict.fromkeys(figure.made_with.get(name, "not said") for figure in found))
        for name in names
    }
    return {name: texts for name, texts in values.items() if len(texts) > 1}


def real(value):
    """The number as a float, or None where it is none, or none that a float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _children(node):
    """(name, content) of a dict, or of a list of dicts by their own names or numbers."""
    if isinstance(node, dict):
        return list(node.items())
    return [
        (str(entry.get("name", number)) if isinstance(entry, dict) else str(number), entry)
        for number, entry in enumerate(node)
    ]


def _texts(node, prefix=""):
    """{path: text} of the texts in a dict, and of all that stands in those dicts that say what was used."""
    found = {}
    for name, value in node.items():
        if name in PLACES or value in ("", None):
            continue
        if isinstance(value, dict) and (prefix or name in IDENTITIES):
            found |= _texts(value, f"{prefix}{name}.")
        elif isinstance(value, str) or prefix:
            found[f"{prefix}{name}"] = str(value)
    return found


def _circumstances(node, above):
    """What the figures of a dict were measured with: what was said above it, its texts and its number."""
    found = {**above, **_texts(node)}
    if real(node.get(OF_REFERENCE)) is not None:
        found[OF_REFERENCE] = f"{real(node[OF_REFERENCE]):.0f}"
    counted = next((real(node[name]) for name in COUNTS if real(node.get(name)) is not None), None)
    return found if counted is None else {**found, "n": f"{counted:.0f}"}


def _figure(node, name, value, made_with, prefix):
    """A Figure with the error that stands beside it, under names that begin with `prefix`."""
    error = next((real(node.get(prefix + kind)) for kind in ERRORS if prefix + kind in node), None)
    ends = node.get(f"{prefix}interval")
    if isinstance(ends, dict):
        ends = [ends.get("low"), ends.get("high")]
    ends = [real(end) for end in ends] if isinstance(ends, list | tuple) and len(ends) == 2 else [None, None]
    return Figure(value, error, *(ends if None not in ends else (None, None)), made_with)


def figures(content, path="", above=None):
    """The numbers that an evaluation recorded, in nested dicts of any form.

    A dict with a `value` is one figure; a number in a dict is one, too. The error stands beside it, as
    `standard_error`, `standard_deviation` or `interval`, after the figure's own name where there are several.

    >>> figures({"bits_per_dim": {"value": 2.5, "standard_error": 0.1, "images": 60}})
    {'bits_per_dim': Figure(value=2.5, error=0.1, low=None, high=None, made_with={'n': '60'})}

    Args:
      content: of metrics.json, or a part of it.
      path: of that part; above: what was said of it, {name: text}.

    Returns:
      {dotted path: Figure}.
    """
    made_with = _circumstances(content, above or {}) if isinstance(content, dict) else above
    found = {}
    for name, value in _children(content):
        number, place = real(value), f"{path}.{name}" if path else name
        if name in (*SKIPPED, *COUNTS, *IDENTITIES, *OF_A_FIGURE) or any(end in name for end in ENDS):
            continue
        if number is not None and isinstance(content, dict):
            of_dict = name == "value" and path
            figure = _figure(content, name, number, made_with, "" if of_dict else f"{name}_")
            found[path if of_dict else place] = figure
        elif isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict) for v in value)):
            found |= figures(value, place, made_with)
    return found


def left_out(content, path=""):
    """The figures that an evaluation left out, {dotted path: reason}, of every `left_out` in nested dicts.

    >>> left_out({"two_sample": {"left_out": {"model": "one image is too few"}}})
    {'two_sample.model': 'one image is too few'}
    """
    found = {}
    for name, value in _children(content):
        if name == "left_out" and isinstance(value, dict):
            found |= {f"{path}{figure}": str(reason) for figure, reason in value.items()}
        elif name == "left_out" and isinstance(value, str):
            found[path.removesuffix(".")] = value
        elif name not in SKIPPED and isinstance(value, dict | list):
            found |= left_out(value, f"{path}{name}.")
    return found


def _numbers(value, length):
    """The list as floats, where it is one of so many finite numbers; else None."""
    if not isinstance(value, list) or len(value) != length:
        return None
    found = [real(number) for number in value]
    return found if all(number is not None and math.isfinite(number) for number in found) else None


def by_noise_level(content, path="", log_snr=None):
    """The lists of an evaluation that have a number for each noise level, as curves.

    Args:
      content: of metrics.json, or a part of it; path: of that part.
      log_snr: the levels, where they stand above it.

    Returns:
      {(dotted path, "log-SNR"): [(log-SNR, number), ...]}, in the order of log-SNR.
    """
    levels = content.get("log_snr")
    log_snr = _numbers(levels, len(levels)) if isinstance(levels, list) else log_snr
    found = {}
    for name, value in content.items():
        place = f"{path}.{name}" if path else name
        if name in SKIPPED or name in ENDS:
            continue
        if isinstance(value, dict):
            found |= by_noise_level(value, place, log_snr)
        elif log_snr and len(log_snr) > 1:
            numbers = _numbers(value, len(log_snr))
            if numbers:
                found[place, "log-SNR"] = sorted(zip(log_snr, numbers, strict=True))
    return found
