"""Where files lie: what is a path of this machine, and what an address of an object store.

This module alone says which stores there are and which package drives each. A path of this machine is a
pathlib.Path; an address becomes a path of etils.epath, which reads and lists in the same words, over fsspec.
What a store does otherwise than a disk:

- An object is written whole or not at all, and never appended to: nothing is renamed into its place.
- There are no folders, only names with slashes: none is made, and an empty one is not there.
- Whoever writes an object may demand that its version be the one that was read, or that there be none, and
  one of two at once is refused: see `read_version` and `write_version`.

What a driver raises becomes an OSError with the number EIO, as of a disk that fails, so that what goes on
without a full disk (workdir/full_disk.py) goes on without its store too. Listings are never kept: what
another process has written is seen at once. Nothing of a driver is imported where no address is given, and
little else: the command line decides what is a path before it does anything.
"""

import contextlib
import dataclasses
import errno
import functools
import importlib.util
import io
import logging
import os
import re
import sys
from pathlib import Path, PurePath

from components import ConfigError, local_path


@dataclasses.dataclass(frozen=True)
class _Store:
    """What is known of a kind of store.

    Attributes:
      package: that drives it; requirements: the file that names it.
      checkpoints: whether Orbax writes checkpoints to it, each valid from one object on.
    """

    package: str
    requirements: str
    checkpoints: bool


STORES = {
    "gs": _Store("gcsfs", "requirements/gcs.txt", True),
    "s3": _Store("s3fs", "requirements/s3.txt", False),
}
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def _scheme(place):
    """The scheme of an address; None of a path of this machine."""
    text = os.fspath(place)
    found = _ADDRESS.match(text) if "://" in text else None
    return found and found[1]


def on_store(place):
    """Whether a path, or text that names one, is the address of an object store.

    >>> on_store("gs://bucket/runs/digits"), on_store("runs/digits")
    (True, False)
    """
    return _scheme(place) is not None


def named(place, field):
    """A path or an address as the user wrote it, with the home folder in the place of `~`.

    Args:
      field: the config field or flag that holds it, for messages.

    Raises:
      ConfigError: an address of no store that is known, without a bucket, or whose driver is not installed.
    """
    scheme = _scheme(place)
    if scheme is None:
        return local_path(place, field)
    if scheme not in STORES:
        known = " and ".join(f"{name}://" for name in STORES)
        raise ConfigError(f'{field}="{place}" is an address of no store that is known: these are {known}.')
    if not re.match(r"[\w.-]+(/|$)", place.partition("://")[2]):
        raise ConfigError(f'{field}="{place}" names no bucket: {scheme}://BUCKET/PATH.')
    _require_driver(scheme, f'{field}="{place}"')
    return place


def without_checkpoints(place):
    """Why no checkpoints can lie at an address, in a sentence; None where they can, and of a path."""
    scheme = _scheme(place)
    if scheme is None or STORES[scheme].checkpoints:
        return None
    able = " and ".join(f"{name}://" for name, store in STORES.items() if store.checkpoints)
    return (
        f"Orbax has checkpoints on disks and on {able}, and none on {scheme}://. Name a folder of this "
        f"machine for the run; data and the results of --output may lie on {scheme}://"
    )


def _require_driver(scheme, shown):
    store = STORES[scheme]
    if importlib.util.find_spec(store.package) is None:
        raise ConfigError(
            f"{shown}: addresses of {scheme}:// need the package {store.package}, which is not installed: "
            f"python -m pip install -r {store.requirements}"
        )


def path(place):
    """The path that a text names: a pathlib.Path of this machine, or one of etils.epath on a store.

    Raises:
      ConfigError: an address of no store that is known, or whose driver is not installed.
    """
    if isinstance(place, PurePath):
        return place
    if not on_store(place):
        return Path(place)
    named(os.fspath(place), "the path")
    _configure()
    from etils import epath

    return epath.Path(os.fspath(place))


@functools.cache
def _configure():
    """Drives all stores by fsspec, without kept listings; to be called before the first path is made."""
    import fsspec

    # What goes wrong reaches the user as an error of ours.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    # Otherwise epath takes tensorflow for it where that is installed, which is a second of import for each
    # process and another set of errors.
    os.environ.setdefault("EPATH_USE_TF", "false")
    for scheme in STORES:
        fsspec.config.conf.setdefault(scheme, {}).setdefault("use_listings_cache", False)


def _driver(place):
    """The file system of fsspec that drives the store of a path."""
    _configure()
    import fsspec

    return fsspec.filesystem(_scheme(place))


class Unreachable(OSError):
    """A store that does not do what it is asked, for whatever reason; its number is EIO."""

    def __init__(self, place, reason):
        super().__init__(errno.EIO, reason, str(place) or None)


@contextlib.contextmanager
def _answered(place):
    """Turns what a driver raises, but for what is not there, into Unreachable."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        raise Unreachable(place, _reason(error)) from error


@contextlib.contextmanager
def _taken(place):
    """The same where something is written: what is not there then is the bucket."""
    try:
        with _answered(place):
            yield
    except FileNotFoundError as error:
        raise Unreachable(place, "there is no such bucket, or it may not be written to") from error


# Packages that raise errors of their own where a store does not answer.
_DRIVERS = ("aiobotocore", "aiohttp", "botocore", "gcsfs", "google", "requests", "s3fs")


def as_of_a_disk(error):
    """An error of a driver as Unreachable; any other as it is."""
    package = type(error).__module__.partition(".")[0]
    # gcsfs has OSErrors without a number for what it may not read.
    unnumbered = type(error) is OSError and error.errno is None and "fsspec" in sys.modules
    return Unreachable("", _reason(error)) if package in _DRIVERS or unnumbered else error


class _Object(io.RawIOBase):
    """An object of a store as an open file, whose reader may raise Unreachable."""

    def __init__(self, place):
        super().__init__()
        self._place = place
        with _answered(place):
            self._file = _driver(place).open(str(place), "rb")

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self._file.tell()

    def seek(self, offset, whence=os.SEEK_SET):
        return self._file.seek(offset, whence)

    def readinto(self, buffer):
        with _answered(self._place):
            return self._file.readinto(buffer)

    def close(self):
        if not self.closed:
            self._file.close()
        super().close()


def _reason(error):
    """The first line of what a driver says, with the kind of error where that says nothing."""
    line = (str(error).strip() or "no reason given").splitlines()[0].rstrip(".")
    return f"{type(error).__name__}: {line[:300]}"


def read_bytes(place):
    """What a file or an object holds.

    Raises:
      FileNotFoundError: there is none; OSError: it cannot be read.
    """
    place = path(place)
    if not on_store(place):
        return place.read_bytes()
    with _answered(place):
        return _driver(place).cat_file(str(place))


def read_text(place, errors="strict"):
    """What a file or an object holds as text; `errors` says what of bytes that are no UTF-8.

    Raises:
      FileNotFoundError: there is none; OSError: it cannot be read; UnicodeDecodeError, a ValueError.
    """
    return read_bytes(place).decode(errors=errors)


def opened(place):
    """A file or an object as an open file of bytes, which may be read from any place on.

    Raises:
      FileNotFoundError: there is none; OSError: it cannot be read.
    """
    place = path(place)
    return io.BufferedReader(_Object(place)) if on_store(place) else place.open("rb")


class Pieces:
    """Pieces of a file or an object, read by any number of threads at the same time.

    Raises:
      FileNotFoundError: there is none; OSError: it cannot be read.
    """

    _file = None

    def __init__(self, place):
        self._path = path(place)
        if not on_store(self._path):
            self._file = os.open(self._path, os.O_RDONLY)

    def __del__(self):
        if self._file is not None:
            os.close(self._file)

    def read(self, size, start):
        """At most `size` bytes from `start` on; fewer at the end."""
        if self._file is not None:
            return os.pread(self._file, size, start)
        with _answered(self._path):
            return _driver(self._path).cat_file(str(self._path), start=start, end=start + size)


def write_bytes(place, content):
    """Writes an object of a store, in place of the one that is there.

    Raises:
      OSError: the store does not take it.
    """
    with _taken(place):
        _driver(place).pipe_file(str(place), content)


def upload(file, place):
    """Writes a file of this machine to an object of a store, in place of the one that is there."""
    with _taken(place):
        _driver(place).put_file(str(file), str(place))


@contextlib.contextmanager
def staged(place):
    """A path of this machine, with the name of an object, whose file is uploaded once the block has ended."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / place.name
        yield file
        upload(file, place)


@contextlib.contextmanager
def staged_folder(place):
    """A folder of this machine whose files take the place of those at an address once the block has ended."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        _upload_folder(Path(folder), place)


def _upload_folder(folder, place):
    """Writes the files of a folder of this machine to an address, and removes the other objects there."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    names = [file.relative_to(folder).as_posix() for file in files]
    for file, name in zip(files, names, strict=True):
        upload(file, place / name)
    with _answered(place):
        base = str(place).partition("://")[2].rstrip("/")
        found = [f.removeprefix(f"{base}/") for f in _driver(place).find(str(place))]
    for name in set(found) - set(names):
        remove(place / name)


def remove(place):
    """Deletes a file or an object, if it is there."""
    if not on_store(place):
        place.unlink(missing_ok=True)
        return
    with contextlib.suppress(FileNotFoundError), _answered(place):
        _driver(place).rm_file(str(place))


def remove_folder(place):
    """Deletes a folder with all that is in it, if it is there; what cannot be deleted stays."""
    if not on_store(place):
        import shutil

        shutil.rmtree(place, ignore_errors=True)
        return
    with contextlib.suppress(OSError), _answered(place):
        _driver(place).rm(str(place), recursive=True)


def move_folder(place, target):
    """Gives a folder another name. On a store each object is copied, and deleted once all are."""
    if not on_store(place):
        import shutil

        shutil.move(place, target)
        return
    with _answered(place):
        driver = _driver(place)
        driver.copy(str(place), str(target), recursive=True)
        driver.rm(str(place), recursive=True)


def absolute(place):
    """The path from the root of this machine's file system on; that of an address is one as it stands."""
    place = path(place)
    return place if on_store(place) else place.absolute()


def real(place):
    """The same with no link in it."""
    place = path(place)
    return place if on_store(place) else place.resolve()


def listed(place):
    """[(name, whether it is a folder)] of what lies in a folder, in the order of the names.

    Raises:
      OSError: it is no folder, or cannot be read.
    """
    place = path(place)
    if not on_store(place):
        return sorted((entry.name, entry.is_dir()) for entry in os.scandir(place))
    with _answered(place):
        found = _driver(place).ls(str(place), detail=True)
    names = ((entry["name"].rstrip("/").rpartition("/")[2], entry["type"] == "directory") for entry in found)
    return sorted(name for name in names if name[0])


def require_writable(place):
    """Makes a folder, where there is none, and writes a file into it, which does not stay.

    Raises:
      OSError: it cannot be written to.
    """
    import secrets
    import tempfile

    make_folder(place)
    if not on_store(place):
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
        return
    tried = place / f".{secrets.token_hex(4)}-tried"
    write_bytes(tried, b"x")
    remove(tried)


def make_folder(place):
    """Makes a folder and those around it, where it is not there; on a store there is nothing to make."""
    if not on_store(place):
        place.mkdir(parents=True, exist_ok=True)


def _versions(place):
    from workdir import versions

    return versions.of(_scheme(place))


def read_version(place):
    """(content, version) of an object of a store; (None, None) where there is none."""
    with _answered(place):
        return _versions(place).read(*_split(place))


def write_version(place, content, version):
    """Writes an object if its version is this one, or with None if there is none.

    Returns:
      the new version; None where another was faster.
    """
    with _taken(place):
        return _versions(place).write(*_split(place), content, version)


def remove_version(place, version):
    """Deletes an object if its version is this one."""
    with contextlib.suppress(FileNotFoundError), _answered(place):
        _versions(place).remove(*_split(place), version)


def _split(place):
    """(bucket, name) of an object."""
    bucket, _, name = str(place).partition("://")[2].partition("/")
    return bucket, name
