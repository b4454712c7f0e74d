"""The folder of a run."""

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

import jax
import numpy as np

from components import ConfigError, Contents, UserError

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


def checksum(tree):
    """CRC-32 over the bytes, shapes and names of all arrays of a tree, as hexadecimal text."""
    value = 0
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        leaf = np.ascontiguousarray(leaf)
        value = zlib.crc32(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode(), value)
        value = zlib.crc32(leaf.reshape(-1).view(np.uint8).data, value)
    return f"{value:08x}"


def write_measured(path, kind, arrays, origin):
    """Writes measured arrays to an .npz file: what `read_measured` reads.

    Args:
      kind: components.FileKind; arrays: dict with the names that it lists.
      origin: JSON-able dict of what was measured, with `sde` at least.
    """
    arrays = {name: np.asarray(arrays[name]) for name in kind.arrays}
    text = json.dumps(origin, default=_plain)
    np.savez(path, **arrays, origin=text, checksum=checksum(arrays))


def read_measured(path, kind, field):
    """The components.Contents of a file of measured arrays.

    Args:
      kind: components.FileKind.
      field: the config field that names the file, for messages.

    Raises:
      ConfigError: no such file, one of another kind, or a damaged one; says which mode writes it.
    """
    writes = f"--mode={kind.mode} writes"
    if not Path(path).is_file():
        raise ConfigError(f'{field}="{path}": there is no such file; {writes} it.')
    if not zipfile.is_zipfile(path):
        raise ConfigError(f'{field}="{path}" is not a whole .npz file; {writes} one.')
    try:
        with np.load(path) as found:
            if not {*kind.arrays, "origin", "checksum"} <= set(found):
                raise ValueError(f"it holds {', '.join(found) or 'nothing'}")
            origin = dict(json.loads(str(found["origin"])))
            arrays = {name: found[name] for name in kind.arrays}
            if str(found["checksum"]) != checksum(arrays):
                raise ValueError("its arrays do not match their checksum")
            return Contents(str(path), arrays, origin)
    except UNREADABLE as error:
        raise ConfigError(
            f'{field}="{path}" cannot be read as a file of --mode={kind.mode} ({error}). Write one by that '
            "mode."
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


@contextlib.contextmanager
def replacing_folder(path, suffix):
    """A new folder beside `path` that takes the place of `path`, with all that was in it, once it is full.

    Args:
      suffix: of the files that are written; a folder with anything else in it is not replaced.

    Raises:
      UserError: there is a folder with other content.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and all(f.suffix == suffix for f in path.iterdir())):
        raise UserError(
            f"{path} holds something else than {suffix} files: move it, or choose another --output."
        )
    temporary, old = (path.with_name(f".{secrets.token_hex(4)}-{path.name}") for _ in range(2))
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_json(path, content):
    """Writes JSON in one piece."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=_plain) + "\n")


def _plain(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value)} is not JSON")
