"""Unfinished results of long work, which survive a kill."""

import json
import os
import shutil
import time
import zipfile
import zlib
from pathlib import Path

import jax
import numpy as np

from components import UserError
from parallel.processes import wait_for_all
from workdir.records import Progress, say

SECONDS_BETWEEN_SAVES = 5.0


class Unfinished:
    """Arrays of results that are filled in a fixed order and survive a kill.

    Args:
      path: an .npz file; kept when all is done, as the results one by one.
      identity: JSON-able description of what is computed; results of anything else are dropped.
      arrays: dict of arrays, NaN where nothing is known yet.
    """

    def __init__(self, path, identity, arrays):
        self.path, self.arrays = Path(path), arrays
        self._identity = json.dumps(identity, sort_keys=True, default=str)
        self._saved = time.monotonic()
        if self.path.exists():
            try:
                with np.load(self.path) as found:
                    if str(found["identity"]) == self._identity:
                        self.arrays = {name: found[name] for name in arrays}
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                say(f"warning: {self.path} cannot be read ({error}); starting anew.")

    def save(self, now=True):
        """Writes the file in one piece; with now=False only some seconds after the last time."""
        if not now and time.monotonic() - self._saved < SECONDS_BETWEEN_SAVES:
            return
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez(file, identity=self._identity, **self.arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)
        self._saved = time.monotonic()


def measure(path, identity, shapes, of_level, what):
    """Arrays [levels, ...] filled row by row; each process measures every n-th level, on its own devices.

    Args:
      path: of the unfinished results, in a folder that all processes share; see `remove`.
      identity: JSON-able description of what is measured; results of anything else are dropped.
      shapes: dict from name to shape, all with the same number of levels in front.
      of_level: level -> dict of one row for each array.
      what: word for the progress bar.

    Returns:
      dict of arrays, on every process.
    """
    levels = next(iter(shapes.values()))[0]
    empty = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
    own = Unfinished(_part(path, jax.process_index()), identity, empty)
    found = own.arrays

    def missing(arrays):
        return np.any([np.isnan(a).reshape(levels, -1).any(axis=1) for a in arrays.values()], axis=0)

    def rows_of(process):
        return np.arange(levels)[process :: jax.process_count()]

    mine = rows_of(jax.process_index())
    todo = mine[missing(found)[mine]]
    if len(todo) < len(mine):
        say(f"{what}: {len(mine) - len(todo)} levels were done before")
    progress = Progress(len(mine), "level", what, initial=len(mine) - len(todo))
    for level in todo:
        for name, row in of_level(level).items():
            found[name][level] = row
        own.save(now=False)
        progress.update(1)
    progress.close()
    own.save()
    wait_for_all(what)
    # Each file holds the rows of its process alone.
    merged = {name: a.copy() for name, a in empty.items()}
    for process in range(jax.process_count()):
        part, rows = Unfinished(_part(path, process), identity, empty).arrays, rows_of(process)
        for name, a in part.items():
            merged[name][rows] = a[rows]
    if missing(merged).any():
        raise UserError(
            f"{what}: not finite at levels {np.flatnonzero(missing(merged)).tolist()[:10]}. Train longer, or "
            "see --config.eval.diagnostics=True."
        )
    return merged


def _part(path, process):
    return path.with_name(f"{path.name}.parts-{process}.npz")


def remove(path):
    """Deletes the unfinished results, once the finished ones are written."""
    for part in path.parent.glob(f"{path.name}.parts-*.npz"):
        part.unlink()


class Parts:
    """Samples of a run that may be killed: one file a batch, in a folder that all processes share.

    Args:
      folder: made if it is not there.
      identity: JSON-able description of what is drawn; parts of anything else are dropped.
    """

    def __init__(self, folder, identity):
        self._folder = Path(folder)
        marker, text = self._folder / "identity.json", json.dumps(identity, sort_keys=True, default=str)
        if jax.process_index() == 0:
            if not marker.exists() or marker.read_text() != text:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder.mkdir(parents=True)
                marker.write_text(text)
            for unfinished in self._folder.glob("*.tmp"):
                unfinished.unlink()
        wait_for_all("samples folder")

    def _path(self, numbers):
        return self._folder / f"{numbers.start:09d}-{numbers.stop:09d}.npz"

    def has(self, numbers):
        """Whether the samples of that range of numbers were drawn."""
        return self._path(numbers).exists()

    def save(self, numbers, **arrays):
        """Writes the samples of that range, in one piece or not at all."""
        temporary = self._path(numbers).with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, self._path(numbers))

    def merged(self, ranges):
        """All arrays, in the order of their numbers.

        Raises:
          UserError: a part cannot be read; it is removed, so that the same command draws it again.
        """
        loaded = []
        for numbers in ranges:
            try:
                with np.load(self._path(numbers)) as part:
                    loaded.append(dict(part))
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                self._path(numbers).unlink(missing_ok=True)
                raise UserError(
                    f"{self._path(numbers)} cannot be read ({error}) and was removed. Run the same command "
                    "again: it draws these samples anew."
                ) from error
        return {name: np.concatenate([part[name] for part in loaded]) for name in loaded[0]}

    def remove(self):
        """Deletes the folder."""
        shutil.rmtree(self._folder)
