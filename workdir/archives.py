"""Arrays of an .npz file, read without trust in what the file says of itself.

What NumPy's own reader does with a file of strangers, and this one does not: it allocates what a header
promises before it looks whether the file holds it, unpickles where it is told to, and raises one of a
dozen kinds of error.
"""

import contextlib
import math
import os
import stat
import zipfile

import numpy as np

from workdir import storage


class ArchiveError(ValueError):
    """A file that is no whole .npz file of plain arrays; the message is one line and names no file."""


def read(path, names=None):
    """The arrays of an .npz file by name.

        >>> import io
        >>> file = io.BytesIO()
        >>> np.savez(file, x=np.arange(3))
        >>> read(file)["x"].tolist()
        [0, 1, 2]

    Args:
      path: of the file, or an open one.
      names: of the arrays that are read, where they are there; None reads all.

    Raises:
      FileNotFoundError: there is no such file.
      ArchiveError: the file is damaged, or an array is no plain one or not as large as its header says.
      storage.Unreachable: a store does not answer.
    """
    _require_file(path)
    try:
        with _opened(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            wanted = members if names is None else [name for name in names if name in members]
            return {name: _array(archive, name, members[name]) for name in wanted}
    except (FileNotFoundError, MemoryError, ArchiveError, storage.Unreachable):
        raise
    except Exception as error:  # what zipfile, zlib and NumPy raise for damaged bytes has no common kind
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArchiveError(reason[:200]) from error


def names(path):
    """Names of the arrays of an .npz file; see `read` for what it raises."""
    _require_file(path)
    try:
        with _opened(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise ArchiveError(str(error)) from error


def is_archive(path):
    """Whether a file is a whole archive by its table of contents."""
    if not storage.on_store(path):
        return zipfile.is_zipfile(path)
    with storage.opened(path) as file:
        return zipfile.is_zipfile(file)


@contextlib.contextmanager
def _opened(path):
    """The archive of a path, or of an open file."""
    if not isinstance(path, str | os.PathLike) or not storage.on_store(path):
        with zipfile.ZipFile(path) as archive:
            yield archive
    else:
        with storage.opened(path) as file, zipfile.ZipFile(file) as archive:
            yield archive


def _require_file(path):
    """Refuses what is there and is no file: opening a pipe would wait for ever."""
    named = isinstance(path, str | os.PathLike) and not storage.on_store(path)
    if named and not stat.S_ISREG(os.stat(path).st_mode):
        raise ArchiveError("it is no regular file")


def _array(archive, name, info):
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ArchiveError(f"the array {name} is of an unknown version {version}")
        shape, _, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ArchiveError(f"the array {name} holds Python objects")
        says, holds = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
        if says != holds:
            raise ArchiveError(f"the array {name} of shape {shape} takes {says} bytes, and there are {holds}")
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
