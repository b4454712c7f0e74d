"""From a config subtree to a frozen object, and the errors a user sees on the way.

Every family of components (SDEs, networks, samplers, ...) is one table from the
name used in configs to a class. `create` looks the name up, hands the class the
fields that are set, and reports what does not fit in one line that names the
config field, what was found and what to write instead.
"""

import dataclasses
import difflib


class UserError(Exception):
    """A problem that its message alone explains; the command line prints it without a trace."""

    exit_code = 1


class ConfigError(UserError):
    """The config asks for something that does not exist or cannot work."""

    exit_code = 2


def closest(word, choices):
    """Returns ' Did you mean "x"?' for the most similar choice, or ''."""
    matches = difflib.get_close_matches(str(word), list(choices), n=1, cutoff=0.4)
    return f' Did you mean "{matches[0]}"?' if matches else ""


def choose(table, name, path):
    """The entry of `table` called `name`; `path` is the config field that holds the name.

    Raises:
      ConfigError: if the table has no such entry.
    """
    if name not in table:
        known = ", ".join(table)
        raise ConfigError(f'{path}="{name}" is unknown.{closest(name, table)} Known: {known}.')
    return table[name]


def resolve(table, config):
    """Writes the defaults of the chosen class, if there is one, into a subtree's fields that are None."""
    if config.name is None:
        return
    for field in dataclasses.fields(table[config.name]):
        if field.name in config and config[field.name] is None:
            config[field.name] = field.default


def create(table, config, path, **supplied):
    """Builds the object that the subtree `config` (called `path`) describes.

    Args:
      table: dict from name to dataclass.
      config: subtree with `name` and the fields of every class in the table; a
        field that is None takes the class's own default.
      path: where the subtree stands in the config, for messages.
      **supplied: fields that the program sets and the config must not.

    Raises:
      ConfigError: unknown name, a field that the class does not have, or values
        that the class refuses (its ValueError).
    """
    cls = choose(table, config.name, f"{path}.name")
    own = ({f.name for f in dataclasses.fields(cls)} & set(config)) - {"name"}
    given = {k: v for k, v in config.items() if k != "name" and v is not None}
    for field in given:
        if field not in own:
            raise ConfigError(
                f'{path}.{field} is set, but {path}.name="{config.name}" has no such field.'
                f"{closest(field, own)} Its fields: {', '.join(sorted(own))}."
            )
    try:
        return cls(**given, **supplied)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
