"""A component is chosen by name: from a config subtree to a frozen object, and the errors on the way.

Every family of components (SDEs, networks, samplers, ...) is one table from the
name used in configs to a class. `create` looks the name up, hands the class the
fields that are set, and reports what does not fit in one line that names the
config field, what was found and what to write instead.

    >>> import components, sde_lib
    >>> from configs import base
    >>> components.create(sde_lib.SDES, base.get_config().sde, "sde").beta_max
    20.0
"""

import dataclasses
import difflib
import math
import os
import re
import shlex

# Lists of all that a mode or a table knows are shorter.
_LONGEST_LINE = 4_000


class UserError(Exception):
    """A problem that its message alone explains; the command line prints it without a trace."""

    exit_code = 1


class ConfigError(UserError):
    """The config asks for something that does not exist or cannot work; one line for each refusal."""

    exit_code = 2


def pasteable(flag, value):
    """A flag with its value as a shell takes it, whatever characters the value has.

    >>> pasteable("workdir", "my runs/digits")
    "--workdir='my runs/digits'"
    """
    return f"--{flag}={shlex.quote(str(value))}"


def told(word, lines):
    """Lines for a terminal: each after `word`, but for those of a table, which begin with a space.

    What a file of strangers holds may stand in them: nothing that moves the cursor is printed, nor a line
    that fills the screen.
    """
    for line in lines:
        left_out = len(line) - _LONGEST_LINE
        if left_out > 0:
            half = _LONGEST_LINE // 2
            line = f"{line[:half]} ... ({left_out} characters) ... {line[-half:]}"
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        yield f"{'' if line.startswith(' ') else word}{text}"


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What one array of a file of measured arrays holds: real, finite numbers.

    Attributes:
      shape: of each axis its length, or a letter for one that is the same wherever the letter stands.
      low, high: every number lies between them.
      increasing: whether each number is larger than the one before, along the first axis.
    """

    shape: tuple[int | str, ...]
    low: float = -math.inf
    high: float = math.inf
    increasing: bool = False


@dataclasses.dataclass(frozen=True)
class FileKind:
    """What a file of measured arrays holds. A class names its file fields in `FILES`, field to FileKind.

    Attributes:
      arrays: the Numbers of each array, by name.
      mode: the mode that writes such files.
      lengths: the least and the largest length that a letter of the shapes may stand for.
      origin: what the file says, in text, of what was measured, for its readers.
    """

    arrays: dict[str, Numbers]
    mode: str
    lengths: dict[str, tuple[int, int]]
    origin: tuple[str, ...] = ("sde",)


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
    """What was read from a file of measured arrays; it stands in the place of the path.

    Attributes:
      path: of the file, for messages.
      arrays: by name, as its FileKind lists them.
      origin: what was measured: parameters, sde, step, seed, ...
    """

    path: str
    arrays: dict
    origin: dict


def closest(word, choices):
    """Returns ' Did you mean "x"?' for the most similar choice, or ''."""
    matches = difflib.get_close_matches(str(word), [c for c in choices if c], n=1, cutoff=0.5)
    return f' Did you mean "{matches[0]}"?' if matches else ""


def choose(table, name, path):
    """The entry of `table` called `name`; `path` is the config field that holds the name.

    Raises:
      ConfigError: if the table has no such entry.
    """
    if name not in table:
        known = ", ".join(map(str, table))
        raise ConfigError(f'{path}="{name}" is unknown.{closest(name, table)} Known: {known}.')
    return table[name]


def own_fields(cls, config):
    """Names of the fields of the subtree `config` that belong to the class."""
    return {f.name for f in dataclasses.fields(cls) if f.init} & set(config) - {"name"}


def resolve(table, config):
    """Writes the defaults of the chosen class, if there is one, into a subtree's fields that are None."""
    if config.name not in table:  # None, or the name of a family that this experiment does not read
        return
    for field in dataclasses.fields(table[config.name]):
        if field.init and field.name in config and config[field.name] is None:
            config[field.name] = field.default


def create(table, config, path, files=None, **supplied):
    """Builds the object that the subtree `config` (called `path`) describes.

    Args:
      table: dict from name to dataclass.
      config: subtree with `name` and the fields of every class in the table; a
        field that is None takes the class's own default.
      path: where the subtree stands in the config, for messages.
      files: Contents by config field, for the fields in the class's `FILES`.
      **supplied: fields that the program sets and the config must not.

    Raises:
      ConfigError: unknown name, a field that the class does not have, or values
        that the class refuses (its ValueError).
    """
    cls = choose(table, config.name, f"{path}.name")
    own = own_fields(cls, config)
    given = {k: v for k, v in config.items() if k != "name" and v is not None}
    for field in given:
        if field not in own:
            shown = f"Its fields: {', '.join(sorted(own))}." if own else "It has no fields."
            raise ConfigError(
                f'{path}.{field} is set, but {path}.name="{config.name}" has no such field.'
                f"{closest(field, own)} {shown}"
            )
    for field in set(getattr(cls, "FILES", ())) & set(given):
        given[field] = (files or {})[f"{path}.{field}"]
    try:
        return cls(**given, **supplied)
    except ValueError as error:
        raise ConfigError(f'{path}.name="{config.name}": {str(error).rstrip(".")}.') from error


def file_fields(table, config, path):
    """(config field, its value, FileKind) of the files that the chosen class of a subtree reads."""
    cls = table.get(config.name)
    return [
        (f"{path}.{field}", config[field], kind)
        for field, kind in getattr(cls, "FILES", {}).items()
        if config[field] is not None
    ]


def local_path(path, field):
    """The path with the home folder in the place of `~`.

    Args:
      field: the config field or flag that holds the path, for messages.

    Raises:
      ConfigError: an address in the place of a path.
    """
    address = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path)
    if address:
        raise ConfigError(
            f'{field}="{path}" is an address, and here a file or a folder of this machine is needed. '
            f"Mount what lies behind {address[0]} as a folder, or copy it, and give its path."
        )
    return os.path.expanduser(path)


def within(config, path, low, high, *fields):
    """A line for each field of the subtree `config` (called `path`) that is set and not in low..high."""
    for field in fields:
        if config[field] is not None and not low <= config[field] <= high:
            yield f"{path}.{field}={config[field]} must lie in {low}..{high}."


def positive(config, path, *fields):
    """A line for each of the fields of the subtree `config` (called `path`) that is not above zero."""
    for field in fields:
        if not config[field] > 0:
            yield f"{path}.{field}={config[field]} must be positive."


class Refusals:
    """Gathers refusals, so that a user reads all of them at once.

        with refusals:
            sde = sde_lib.create(config.sde)

    goes on after the block where it raises ConfigError.

    Attributes:
      lines: one for each refusal, each once.
    """

    def __init__(self):
        self.lines = []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if not isinstance(error, ConfigError):
            return False
        self._take(str(error).splitlines())
        return True

    def add(self, lines):
        """Takes refusals from an iterable of text, which may itself raise ConfigError on the way."""
        with self:
            for line in lines:
                self._take([line])

    def _take(self, lines):
        self.lines += [line for line in lines if line not in self.lines]

    def raise_if_any(self):
        """Raises ConfigError with all lines, if there are any."""
        if self.lines:
            raise ConfigError("\n".join(self.lines))
