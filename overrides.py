"""Overrides: from the text of a command line, `--config.sampling.steps=50`, to the value of a field."""

import ast
import decimal
import difflib
import re

from ml_collections import ConfigDict

from components import ConfigError
from configs import base, renamed, schema
from workdir.saved_config import leaves


def groups(config, prefix=""):
    """(path, whether it has a name) of every subtree of a config."""
    for name in config:
        if isinstance(config[name], ConfigDict):
            yield f"{prefix}{name}", "name" in config[name]
            yield from groups(config[name], f"{prefix}{name}.")


def _field_of(config, flag, value):
    """The field that an override changes: a group's name is set by the group's path.

    Raises:
      ConfigError: no such field, an older name of one, or a group without a name.
    """
    path = flag.removeprefix("noconfig.").removeprefix("config.")
    found, fields = dict(groups(config)), [name for name, _ in leaves(config)]
    if path in fields:
        return path
    if found.get(path) and value is not None:
        return f"{path}.name"
    if path in renamed.EVALUATORS:
        raise ConfigError(
            f'"--config.{path}" is the name {renamed.EVALUATORS[path]} in --config.eval.evaluators now.'
        )
    if path in renamed.FIELDS:
        now = " and ".join(f"--config.{name}" for name in renamed.FIELDS[path])
        raise ConfigError(f'"--config.{path}" is called {now} now.')
    if path in found:
        shown = f"--config.{path}"
        if not found[path]:
            shown += f".{next(leaves(subtree(config, path)))[0]}"
        raise ConfigError(f"--config.{path} is a group of fields. Set one of them, for example {shown}=...")
    matches = difflib.get_close_matches(path, [*fields, *found], n=1, cutoff=0.6)
    hint = f' Did you mean "--config.{matches[0]}"?' if matches else " configs/base.py lists all fields."
    raise ConfigError(f'"--config.{path}" is not a field of the config.{hint}')


def subtree(config, path):
    """The part of a config below a path; the whole for ""."""
    for name in path.split(".") if path else ():
        config = config[name]
    return config


# What is said where the text of an override is none of its field's kind.
_KINDS = {
    int: "must be a whole number",
    float: "must be a number",
    bool: "must be True or False",
    tuple: "must be numbers in brackets, for example (1,2)",
}
_TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def _whole(text):
    """The whole number of a text, in digits or as 1e5."""
    if re.fullmatch(r"[+-]?\d+(\.\d*)?[eE]\+?\d\d?", text):
        number = decimal.Decimal(text)
        if number == number.to_integral_value():
            return int(number)
    return int(text)


def _literal(text):
    """The Python value of a text.

    Raises:
      ValueError: it is none, or nested too deeply.
    """
    try:
        return ast.literal_eval(text)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("no Python value") from error


def _tuple(text):
    value = _literal(text)
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _texts(text):
    """The texts between commas that stand in no brackets; or a tuple of texts as Python has it."""
    if re.match(r"[(\[]", text):
        value = _literal(text)
        return tuple(value) if isinstance(value, tuple | list) else (value,)
    return tuple(part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip())


_PARSERS = {int: _whole, float: float, bool: lambda text: _TRUTH[text.lower()], str: str, tuple: _tuple}


def _parsed(flag, text, field):
    """The value of an override: `text` as the schema.Field has it.

    Raises:
      ConfigError: the text is no such value.
    """
    shown = f"--{flag}" if text is None else f"--{flag}={text}"
    if field.kind is bool and text is None:
        return not flag.startswith("noconfig.")
    if text is None or flag.startswith("noconfig."):
        raise ConfigError(f"{shown}: a value is needed: --{flag.removeprefix('no')}=...")
    if not text.isprintable():
        raise ConfigError(f"--{flag}={text!r} holds a character that cannot be printed.")
    if text == "None" and field.optional:
        return None
    try:
        return (_texts if field.of_texts else _PARSERS[field.kind])(text)
    except (ValueError, KeyError, ArithmeticError):
        in_pairs = flag.removeprefix("config.") in schema.OF_PAIRS
        raise ConfigError(f"{shown} {schema.IN_PAIRS if in_pairs else _KINDS[field.kind]}.") from None


def _replaced(flag, text):
    """The group of configs/base.py at a flag's path, with the fields of a dict in text.

    Raises:
      ConfigError: the text is no dict, or has fields that the group has not.
    """
    group = subtree(base.get_config(), flag.removeprefix("config."))
    try:
        value = _literal(text)
        group.update(value)
    except (ValueError, TypeError, KeyError, AttributeError):
        known = ", ".join(name for name, _ in leaves(group))
        raise ConfigError(
            f"--{flag}={text} must be a dict of fields of this group and their values. Its fields: {known}."
        ) from None
    return group


def apply(config, overrides):
    """The config with its overrides applied, one after the other.

        >>> from configs import digits
        >>> apply(digits.get_config(), [("config.sampling.predictor", "edm")]).sampling.predictor.name
        'edm'

    Args:
      config: a ConfigDict of the schema, which is changed.
      overrides: (path that begins with `config.`, text) of each; the text of a flag without a value is None.

    Raises:
      ConfigError: names the first override that cannot be.
    """
    fields = schema.fields()
    for flag, text in overrides:
        path = flag.removeprefix("config.")
        if text is not None and text.startswith("{") and path in dict(groups(config)):
            value = _replaced(flag, text)
        else:
            path = _field_of(config, flag, text)
            value = _parsed(flag, text, fields[path])
        parent, _, name = path.rpartition(".")
        subtree(config, parent)[name] = value
    return config
