"""Unfinished results of long work, which survive a kill."""

import contextlib
import hashlib
import json
import time

import jax
import numpy as np

from components import UserError
from parallel.processes import is_first, wait_for_all
from workdir import archives, storage
from workdir.files import UNREADABLE, replacing
from workdir.records import Progress, say

# What a kill may cost of the time since the work began: at first that is less than `seconds`.
SHARE = 0.1


class Partial:
    """Rows of named arrays, filled in any order by any process, that survive a kill.

    Each process writes the rows it filled since its last save into a file of its own, in a folder that
    all share, `<path>.parts-<digest of the identity>`: whoever computes something else has another
    folder. An unreadable part is removed with a warning, and its rows are computed again.

    Args:
      path: of the results without a suffix.
      identity: JSON-able description of what is computed; rows of anything else are not taken up.
      seconds: the longest time between two saves, but for a batch that takes longer. The first batch is
        saved at once and the next ones after a tenth of the time that the work has taken, so that work which
        is killed again and again comes to its end, and is written in few parts. With 0 each batch is a part.
      keep: whether finished rows stay in `<path>.npz` for the next time; see `finish`.
    """

    def __init__(self, path, identity, seconds=5.0, keep=False):
        self._identity = json.dumps(identity, sort_keys=True, default=str)
        digest = hashlib.sha256(self._identity.encode()).hexdigest()[:8]
        self.folder = storage.path(f"{path}.parts-{digest}")
        self.kept = storage.path(f"{path}.npz") if keep else None
        self._seconds, self._unsaved = seconds, []
        self._begun = self._saved = time.monotonic()
        known = [np.zeros(0, int)]
        for part in self._parts():
            try:
                rows = self._read(part, ("rows",))["rows"]
            except FileNotFoundError:
                # Another run of the same command has finished and cleaned up.
                continue
            except storage.Unreachable:
                raise
            except UNREADABLE as error:
                storage.remove(part)
                say(f"warning: {part} cannot be read ({error}) and was removed; its rows are computed anew.")
            else:
                known.append(rows)
        self._known = np.unique(np.concatenate(known))

    def _parts(self):
        kept = [self.kept] if self.kept and self.kept.exists() else []
        return [*kept, *sorted(self.folder.glob("[0-9]*.npz"))]

    def _read(self, path, names=None):
        """Arrays of a part by name; of something else, no rows.

        Raises:
          FileNotFoundError, ArchiveError: there is no such file, or it is no whole part.
        """
        part = archives.read(path, names and ("identity", *names))
        if str(part.pop("identity", "")) != self._identity:
            return {"rows": np.zeros(0, int)}
        rows = part.get("rows", np.zeros(0))
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or (rows < 0).any():
            raise archives.ArchiveError("its rows have no numbers")
        if any(np.shape(values)[:1] != rows.shape for values in part.values()):
            raise archives.ArchiveError("its arrays are not as long as its rows are many")
        return part

    def fill(self, count, size, compute, what, unit, were):
        """Computes those of the rows 0..count-1 that are this process's and missing; waits for the others.

        Args:
          size: rows in a batch; the batches are dealt to the processes in turn.
          compute: row numbers [n], n <= size, increasing -> dict of arrays [n, ...].
          what, unit: words for the progress bar.
          were: how it is said that some "were drawn" before.
        """
        rows = np.arange(count)
        share = rows[rows // size % jax.process_count() == jax.process_index()]
        todo = np.setdiff1d(share, self._known)
        done = len(share) - len(todo)
        if 0 < done < len(share):
            say(f"{what}: {done} {were} before")
        progress = Progress(len(share), unit, what, initial=done)
        try:
            for start in range(0, len(todo), size):
                batch = todo[start : start + size]
                self.add(batch, compute(batch))
                progress.update(len(batch))
        finally:
            self.save()
            progress.close()
        wait_for_all(what)

    def add(self, rows, arrays):
        """Takes the arrays [n, ...] of rows [n]; saves if the last time is long enough ago."""
        self._unsaved.append({"rows": rows, **arrays})
        now = time.monotonic()
        if now - self._saved >= min(self._seconds, SHARE * (now - self._begun)):
            self.save()

    def save(self):
        """Writes what was added since the last time as one more part."""
        if not self._unsaved:
            return
        part = {name: np.concatenate([a[name] for a in self._unsaved]) for name in self._unsaved[0]}
        # No two processes have a row in common: neither have they a file's name.
        path = self.folder / f"{part['rows'][0]:09d}-{part['rows'][-1]:09d}.npz"
        written = False
        while not written:
            storage.make_folder(self.folder)
            # Another run of the same command may finish, and delete the folder, just then.
            with contextlib.suppress(FileNotFoundError):
                self._write(path, part)
                written = True
        self._unsaved, self._saved = [], time.monotonic()
        self._known = np.union1d(self._known, part["rows"])

    def _write(self, path, part):
        with replacing(path) as temporary:
            np.savez(temporary, identity=self._identity, **part)

    def merged(self, count):
        """All arrays [count, ...], whichever process filled them.

        Raises:
          UserError: a part cannot be read and was removed, or one is gone; the same command mends it.
        """
        arrays, filled = {}, np.zeros(count, bool)
        for path in self._parts():
            try:
                part = self._read(path)
                self._require_like(part, arrays)
            except FileNotFoundError:
                # Another run of the same command has finished: its rows are where it keeps them.
                return self.merged(count)
            except storage.Unreachable:
                raise
            except UNREADABLE as error:
                storage.remove(path)
                raise UserError(
                    f"{path} cannot be read ({error}) and was removed. Run the same command again: it "
                    "computes these rows anew."
                ) from error
            rows = part.pop("rows")
            wanted = rows < count
            filled[rows[wanted]] = True
            for name, values in part.items():
                if name not in arrays:
                    arrays[name] = np.empty((count, *values.shape[1:]), values.dtype)
                arrays[name][rows[wanted]] = values[wanted]
        if not filled.all():
            raise UserError(
                f"{(~filled).sum()} of {count} rows are gone from {self.folder}: another run of the same "
                "command may have finished them. Run the same command again: it computes them anew."
            )
        return arrays

    @staticmethod
    def _require_like(part, arrays):
        """Raises ArchiveError where the arrays of a part are not of the kind of those before it."""

        def kinds(found):
            return {
                name: (a.shape[1:], a.dtype.kind in "biufc") for name, a in found.items() if name != "rows"
            }

        if arrays and len(part["rows"]) and kinds(part) != kinds(arrays):
            raise archives.ArchiveError("its arrays are of another kind than those of the other parts")

    def finish(self, arrays=None):
        """Deletes the parts, once the results are written. All processes come here.

        Args:
          arrays: all rows; with `keep` they are left for the next time in one file. Where more rows are known
            than these, all stays as it is.
        """
        wait_for_all(f"parts of {self.folder.name}")
        if self.kept and (self._known >= len(next(iter(arrays.values())))).any():
            return
        if is_first() and self.folder.exists():
            if self.kept:
                count = len(next(iter(arrays.values())))
                self._write(self.kept, {"rows": np.arange(count), **arrays})
            storage.remove_folder(self.folder)
