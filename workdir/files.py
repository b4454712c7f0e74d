"""The folder of a run."""

import contextlib
import json
import os
import secrets
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from components import UserError

# What reading a damaged file may raise.
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(path, names, field, mode):
    """(arrays by name, dict `about`) of an .npz file that a mode wrote and a config field names.

    Raises:
      ValueError: no such file, or one that cannot be read; says which mode writes it.
    """
    if not Path(path).is_file():
        raise ValueError(f'there is no {field}="{path}"; --mode={mode} writes it')
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a whole .npz file; --mode={mode} writes one")
    try:
        with np.load(path) as found:
            about = dict(json.loads(str(found["about"]))) if "about" in found else {}
            if "sde" not in about or not set(names) <= set(found):
                raise ValueError(f"it holds {', '.join(found) or 'nothing'}")
            return {name: found[name] for name in names}, about
    except UNREADABLE as error:
        raise ValueError(
            f"{path} cannot be read as a file of --mode={mode} ({error}). Write one by that mode"
        ) from error


def prepare_workdir(workdir, flag="--workdir"):
    """Creates the folder and makes sure that files can be written to it.

    Args:
      flag: of the command line, which names the folder; for messages.

    Raises:
      UserError: names the folder and the reason.
    """
    try:
        Path(workdir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir) as file:
            file.write(b"x")
    except OSError as error:
        raise UserError(
            f"{flag}={workdir} cannot be written to: {error.strerror}. Choose another folder."
        ) from None


@contextlib.contextmanager
def replacing(path):
    """A path beside `path`, with its suffix, whose file takes the place of `path` once it is whole.

    A kill leaves the old file or the new one, and of two writers at once the later one wins.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, content):
    """Writes JSON in one piece."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=_plain) + "\n")


def _plain(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value)} is not JSON")
