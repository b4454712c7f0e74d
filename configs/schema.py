"""What each field of configs/base.py may hold, and what is wrong with the values of a config one by one."""

import math
from typing import NamedTuple

from ml_collections import ConfigDict
from ml_collections.config_dict import FieldReference

from configs import base

# Numbers beyond it, and those so near to zero, are none in the float32 that the model computes in.
LARGEST, SMALLEST = 3.4e38, 1.2e-38
LARGEST_WHOLE = 2**31 - 1
SEEDS = ("seed",)  # whole numbers that are no sizes
# Tuples of texts, and of pairs of them; every other tuple is of numbers.
OF_TEXTS = ("eval.evaluators", "eval.sample_quality.samplers", "eval.sample_quality.metrics")
OF_PAIRS = ("training.sharding",)
IN_PAIRS = "must hold pairs of texts: (('bias', 'replicated'),)"


class Field(NamedTuple):
    """One field of the schema.

    Attributes:
      kind: int, float, bool, str or tuple.
      optional: whether None is among its values.
      of_texts: whether a tuple holds texts rather than numbers.
    """

    kind: type
    optional: bool
    of_texts: bool = False


def fields(subtree=None, prefix=""):
    """{dotted path: Field} of every field of the schema."""
    subtree = base.get_config() if subtree is None else subtree
    found = {}
    for name, value in subtree.items(preserve_field_references=True):
        if isinstance(value, ConfigDict):
            found.update(fields(value, f"{prefix}{name}."))
        else:
            optional, path = isinstance(value, FieldReference), prefix + name
            found[path] = Field(subtree.get_type(name), optional, path in OF_TEXTS)
    return found


def _values(config, prefix=""):
    for name in config:
        value = config[name]
        if isinstance(value, ConfigDict):
            yield from _values(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def mismatches(config):
    """Lines about fields that a config lacks, has beyond the schema, or holds in another type."""
    schema, found = fields(), dict(_values(config))
    for path in sorted(schema.keys() | found.keys()):
        if path not in found:
            yield f"{path} is missing. Start from base.get_config() of configs/base.py."
        elif path not in schema:
            yield f"{path} is no field of configs/base.py. Leave it out."
        elif not _is_of(found[path], schema[path]):
            wanted = schema[path].kind.__name__ + (" or None" if schema[path].optional else "")
            yield f"{path}={found[path]!r} is of type {type(found[path]).__name__}; it must be {wanted}."


def _is_of(value, field):
    if value is None:
        return field.optional
    if field.kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, field.kind) and (field.kind is bool or not isinstance(value, bool))


def no_numbers(config, takes_infinity=lambda path: False):
    """Lines about fields of a config of the schema that hold NaN, infinity or what cannot be computed with.

    Args:
      takes_infinity: path -> whether the chosen class takes infinity there.
    """
    for path, value in _values(config):
        if path in OF_TEXTS:
            if not all(isinstance(text, str) for text in value):
                yield f"{path}={value} must hold names alone."
            continue
        if path in OF_PAIRS:
            if not all(map(_is_pair_of_texts, value)):
                yield f"{path}={value} {IN_PAIRS}."
            continue
        for number in value if isinstance(value, tuple) else (value,):
            reason = None if isinstance(number, str | bool | None) else _reason(number, path, takes_infinity)
            if isinstance(value, tuple) and (isinstance(number, str | bool) or number is None):
                reason = "must hold numbers alone"
            if reason:
                yield f"{path}={value} {reason}."
                break


def _is_pair_of_texts(value):
    return isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(v, str) for v in value)


def _reason(number, path, takes_infinity):
    """Why that is no number to compute with, or None."""
    if isinstance(number, int):
        whole = path in SEEDS or abs(number) <= LARGEST_WHOLE
        return None if whole else f"must lie within ±{LARGEST_WHOLE}"
    if not isinstance(number, float):
        return "must hold numbers alone"
    if math.isinf(number):
        return None if number > 0 and takes_infinity(path) else "must be finite"
    if math.isnan(number):
        return "must be a number"
    if abs(number) > LARGEST or 0 < abs(number) < SMALLEST:
        return f"is none of the numbers of float32, {SMALLEST:g} to {LARGEST:g} in size"
    return None
