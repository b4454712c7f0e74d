"""The table of data sets, and how `data.source` names one."""

from components import ConfigError, choose
from data import digits, folder, npz, tensorflow_datasets
from data import zip as zip_archive

# kind: (function (argument, split, config) -> Source, what stands behind the colon)
SOURCES = {
    "digits": (digits.load, None),
    "tfds": (tensorflow_datasets.load, "name"),
    "folder": (folder.load, "path"),
    "zip": (zip_archive.load, "path"),
    "npz": (npz.load, "path"),
}


def parse(source):
    """Splits `data.source` into its kind and its argument.

    Raises:
      ConfigError: unknown kind, or an argument that is missing or too many.
    """
    kind, _, argument = source.partition(":")
    _, expected = choose(SOURCES, kind, "data.source")
    if expected and not argument:
        raise ConfigError(f'data.source="{source}" must be written {kind}:<{expected}>.')
    if argument and not expected:
        raise ConfigError(f'data.source="{source}" takes no argument. Write data.source="{kind}".')
    return kind, argument
