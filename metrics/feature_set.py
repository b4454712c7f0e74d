"""What metrics are given: the features of a set of examples, and a row of the table of metrics."""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

from metrics import intervals
from metrics.frechet import Moments, moments

# A kind of feature and the kind that it follows from.
_FOLLOWS_FROM = {"moments": "features", "spatial_moments": "spatial"}


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureSet:
    """What an extractor found in a set of examples; None is what is not known.

    Attributes:
      features: [N, D]; moments: theirs, where they alone are known.
      logits: [N, classes].
      spatial: [N, E] features that keep their place, of sFID; spatial_moments: theirs.
      extractor: the name of the extractor; sets of different extractors are not compared.
    """

    features: np.ndarray | None = None
    moments: Moments | None = None
    logits: np.ndarray | None = None
    spatial: np.ndarray | None = None
    spatial_moments: Moments | None = None
    extractor: str | None = None

    @functools.cached_property
    def statistics(self):
        """The Moments given, or else those of the features; computed once."""
        return self.moments if self.moments is not None else moments(self.features)

    @functools.cached_property
    def of_spatial(self):
        """The set whose features are the spatial ones."""
        return FeatureSet(self.spatial, self.spatial_moments, extractor=self.extractor)

    def count(self, kind):
        """The number of examples whose `kind` (a field's name) is known or follows; None where it is not.

        Infinite for Moments that do not say theirs.
        """
        found = getattr(self, kind)
        if found is None:
            return self.count(_FOLLOWS_FROM[kind]) if kind in _FOLLOWS_FROM else None
        if not isinstance(found, Moments):
            return len(found)
        return math.inf if found.count is None else found.count

    def not_finite(self, kind):
        """What of its `kind` (a field's name) is NaN or infinite, in words; None where all is finite."""
        found = getattr(self, kind)
        if found is None:
            return self.not_finite(_FOLLOWS_FROM[kind]) if kind in _FOLLOWS_FROM else None
        if isinstance(found, Moments):
            finite = np.isfinite(found.mean).all() and np.isfinite(found.covariance).all()
            return None if finite else f"the {kind.replace('_', ' ')} have NaN or infinite numbers"
        rows = len(found) - int(np.isfinite(found).reshape(len(found), -1).all(axis=1).sum())
        return f"{rows} of {len(found)} rows of {kind} have NaN or infinite numbers" if rows else None


@dataclasses.dataclass(frozen=True)
class Metric:
    """A row of the table of metrics.

    Attributes:
      function: (reference, generated, seed) -> an entry {"value", "n", "standard_error", ...}, or several
        entries by their names; seed is of what is drawn.
      reference: the kind of feature that it needs of the reference, a field of FeatureSet; None: nothing.
      generated: the same of the generated examples.
      least: number of examples of each set that it takes.
      extractor: the one whose features give the figure its name; None: any.
    """

    function: Callable
    reference: str | None
    generated: str
    least: int = 2
    extractor: str | None = None

    def lacks(self, reference, generated):
        """Why two FeatureSets do not suffice, in a sentence; None where they do."""
        extractors = {found.extractor for found in (reference, generated)} - {None}
        if self.reference is not None and len(extractors) > 1:
            return f"features of {reference.extractor} and of {generated.extractor} are not compared"
        for side, found, kind in (
            ("reference", reference, self.reference),
            ("generated examples", generated, self.generated),
        ):
            if kind is None:
                continue
            if self.extractor and found.extractor and found.extractor != self.extractor:
                return (
                    f"it takes features of {self.extractor}, and those of the {side} are of {found.extractor}"
                )
            count = found.count(kind)
            if count is None:
                return f"it takes {kind.replace('_', ' ')} of the {side}, and there are none"
            if count < self.least:
                return f"it takes {self.least} examples of each set, and of the {side} there are {count}"
        return None


def _with_interval(entry):
    """An entry with the interval that its standard error gives, if it has one and no interval of its own."""
    if "standard_error" not in entry or "interval" in entry:
        return entry
    found = intervals.symmetric(entry["value"], entry["standard_error"], entry.get("degrees_of_freedom"))
    return {**entry, "interval": found}


def _require_finite(metrics, reference, generated):
    """Raises ValueError where what the metrics read of either FeatureSet is NaN or infinite."""
    for side, found, kinds in (
        ("reference", reference, [metric.reference for metric in metrics]),
        ("generated examples", generated, [metric.generated for metric in metrics]),
    ):
        for kind in dict.fromkeys(kinds):
            reason = kind and found.not_finite(kind)
            if reason:
                raise ValueError(f"of the {side}, {reason}: there are no figures of these")


def measured(table, names, reference, generated, seed):
    """The entries of metrics by name; see `metrics.measure`."""
    unknown = [name for name in names if name not in table]
    if unknown:
        raise ValueError(f"there is no metric {', '.join(unknown)}; there are {', '.join(table)}")
    _require_finite([table[name] for name in names], reference, generated)
    result = {}
    for name in names:
        metric = table[name]
        reason = metric.lacks(reference, generated)
        if reason is not None:
            result[name] = {"left_out": reason}
            continue
        found = metric.function(reference, generated, seed)
        entries = {name: found} if "value" in found else found
        result.update({figure: _with_interval(entry) for figure, entry in entries.items()})
    return result
