"""JSON that every reader of JSON can read: numbers that are not finite stand in it as text."""

import json
import math

import numpy as np

# As JavaScript's Number and Python's float read them, and protocol buffers write them.
_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}
_NUMBERS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def plain(content):
    """The content as JSON has it: arrays and tuples as lists, numbers that are not finite by name.

    >>> plain({"churn_max": math.inf, "levels": (1, 2)})
    {'churn_max': 'Infinity', 'levels': [1, 2]}
    """
    if isinstance(content, dict):
        return {str(name): plain(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    if isinstance(content, np.ndarray | np.generic):
        return plain(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return _NAMES.get(content, "NaN")
    return content


def dumps(content, indent=None):
    """The content as text of strict JSON."""
    return json.dumps(plain(content), indent=indent, allow_nan=False)


def loads(text, bare=None):
    """What `dumps` wrote, with its numbers that are not finite; tuples and arrays are lists.

    Args:
      bare: a list that takes each NaN, Infinity and -Infinity that stands there without quotes, which is no
        JSON, and which Python's own writer writes.
    """

    def constant(name):
        if bare is not None:
            bare.append(name)
        return _NUMBERS[name]

    return _revived(json.loads(text, parse_constant=constant))


def _revived(content):
    if isinstance(content, dict):
        return {name: _revived(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_revived(value) for value in content]
    return _NUMBERS.get(content, content) if isinstance(content, str) else content
