"""The folder of a run."""

import contextlib
import os
import secrets
import shutil
import zipfile
import zlib

import jax
import numpy as np

from components import ConfigError, Contents, UserError
from workdir import archives, storage, strict_json

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
    np.savez(path, **arrays, origin=strict_json.dumps(origin), checksum=checksum(arrays))


def read_measured(path, kind, field):
    """The components.Contents of a file of measured arrays.

    Args:
      kind: components.FileKind.
      field: the config field that names the file, for messages.

    Raises:
      ConfigError: no such file, one of another kind, or a damaged one; says which mode writes it.
    """
    writes = f"--mode={kind.mode} writes"
    place = storage.path(path)
    if not place.is_file():
        found = "it is no regular file" if place.exists() else "there is no such file"
        raise ConfigError(f'{field}="{path}": {found}; {writes} it.')
    if not archives.is_archive(place):
        raise ConfigError(f'{field}="{path}" is not a whole .npz file; {writes} one.')
    try:
        found = archives.read(path, (*kind.arrays, "origin", "checksum"))
        if not {*kind.arrays, "origin", "checksum"} <= set(found):
            raise ValueError(f"it holds {', '.join(archives.names(path))[:200] or 'nothing'}")
        origin = _origin(str(found["origin"]), kind)
        arrays = {name: found[name] for name in kind.arrays}
        _require(arrays, kind)
        if str(found["checksum"]) != checksum(arrays):
            raise ValueError("its arrays do not match their checksum")
        return Contents(str(path), arrays, origin)
    except UNREADABLE as error:
        raise ConfigError(
            f'{field}="{path}" cannot be read as a file of --mode={kind.mode} ({error}). Write one by that '
            "mode."
        ) from error


def _origin(text, kind):
    """What a file of a FileKind says of what was measured, in text where its readers use it."""
    try:
        origin = strict_json.loads(text)
    except RecursionError:
        raise ValueError("its origin is nested too deeply") from None
    if not isinstance(origin, dict):
        raise ValueError("its origin is no dict")
    for name in {*kind.origin, *(name for name in ("parameters",) if origin.get(name) is not None)}:
        if not isinstance(origin.get(name), str):
            raise ValueError(f"its origin has no text for {name}")
    return origin


def _require(arrays, kind):
    """Raises ValueError where the arrays are not what a FileKind says of them."""
    lengths = {}
    for name, wanted in kind.arrays.items():
        found = arrays[name]
        if found.dtype.kind not in "fiu":
            raise ValueError(f"{name} is of type {found.dtype}, and must hold real numbers")
        fits = found.ndim == len(wanted.shape)
        for length, axis in zip(found.shape, wanted.shape, strict=False):
            low, high = kind.lengths[axis] if isinstance(axis, str) else (axis, axis)
            fits = fits and low <= length <= high and lengths.setdefault(axis, length) == length
        if not fits:
            known = ", ".join(f"{axis} = {n}" for axis, n in lengths.items() if isinstance(axis, str))
            shape = f"[{', '.join(map(str, wanted.shape))}]"
            raise ValueError(f"{name} is of shape {list(found.shape)}, and must be {shape} with {known}")
        if not np.isfinite(found).all():
            raise ValueError(f"{name} is not finite")
        least, largest = float(found.min()), float(found.max())
        if not (wanted.low <= least and largest <= wanted.high):
            raise ValueError(
                f"{name} lies in {least:g}..{largest:g}, and must lie in {wanted.low:g}..{wanted.high:g}"
            )
        if wanted.increasing and not (np.diff(found.astype(float), axis=0) > 0).all():
            raise ValueError(f"{name} does not increase")


def prepare_workdir(workdir, flag="--workdir", value=None, advice="Choose another folder."):
    """Creates the folder and makes sure that files can be written to it.

    Args:
      flag: of the command line, or field of the config, that names the folder; value: what it says, where the
        folder lies in that one; advice: what to do. For messages.

    Raises:
      UserError: names the folder and the reason.
    """
    folder = storage.path(workdir)
    try:
        storage.require_writable(folder)
    except OSError as error:
        inner = "" if value is None or storage.path(value) == folder else f": {workdir} in it"
        shown = f"{flag}={workdir if value is None else value}{inner}"
        raise UserError(f"{shown} cannot be written to: {error.strerror}. {advice}") from None


@contextlib.contextmanager
def replacing(path):
    """A path beside `path`, with its suffix, whose file takes the place of `path` once it is whole.

    A kill leaves the old file or the new one, and of two writers at once the later one wins. Of a path
    on a store the file lies on this machine and is uploaded.
    """
    path = storage.path(path)
    if storage.on_store(path):
        with storage.staged(path) as file:
            yield file
        return
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path, *suffixes):
    """A new folder beside `path` that takes the place of `path`, with all that was in it, once it is full.

    Args:
      suffixes: of the files that are written; a folder with anything else in it is not replaced.

    Raises:
      UserError: there is a folder with other content.
    """
    path = storage.path(path)
    if path.exists() and not (path.is_dir() and all(f.suffix in suffixes for f in path.iterdir())):
        raise UserError(
            f"{path} holds something else than {' and '.join(suffixes)} files: move it, or choose another "
            "--output."
        )
    if storage.on_store(path):
        with storage.staged_folder(path) as folder:
            yield folder
        return
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
    """Writes JSON in one piece; see workdir/strict_json.py."""
    with replacing(path) as temporary:
        temporary.write_text(strict_json.dumps(content, indent=2) + "\n")
