"""Lines that grow on an object store, where nothing can be appended to: numbered parts of one file.

Of metrics.jsonl the parts are metrics-000000.jsonl, metrics-000001.jsonl, ... in the order of their numbers,
after the file itself, where a run was begun on a disk.
"""

import re
import time

from workdir import storage

# A part is written again as it grows, until it is so large.
MOST_BYTES = 1 << 16
SECONDS_BETWEEN_WRITES = 10.0
SECONDS_AFTER_A_FAILURE = 60.0


def _name(name, number):
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}-{number:06d}{dot}{suffix}"


def numbered(folder, name):
    """{number: path} of the parts of a file, in order."""
    stem, _, suffix = name.rpartition(".")
    pattern = re.compile(rf"{re.escape(stem)}-(\d{{6,}})\.{re.escape(suffix)}")
    found = ((pattern.fullmatch(path.name), path) for path in folder.glob(f"{stem}-*.{suffix}"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


class Parts:
    """Appends to the parts of a file, after those that are there.

    Args:
      folder: path on a store; name: of the file.
    """

    def __init__(self, folder, name):
        self._folder, self._name = folder, name
        self._number = max(numbered(folder, name), default=-1) + 1
        self._content, self._written, self._next = b"", 0, time.monotonic()

    def append(self, content):
        """Takes whole lines, all or none, and writes them where the last write is long enough ago.

        Returns:
          whether all that was ever taken is written.

        Raises:
          OSError: the store does not take them, and they are not taken here.
        """
        if time.monotonic() >= self._next:
            self._write(self._content + content)
        else:
            self._content += content
        return len(self._content) == self._written

    def flush(self):
        """Writes what was taken; see `append`."""
        if len(self._content) > self._written:
            self._write(self._content)

    def close(self):
        """Nothing is open; what was taken and is not written is lost."""

    def _write(self, content):
        self._next = time.monotonic() + SECONDS_AFTER_A_FAILURE
        storage.write_bytes(self._folder / _name(self._name, self._number), content)
        self._next = time.monotonic() + SECONDS_BETWEEN_WRITES
        self._content, self._written = content, len(content)
        if len(content) >= MOST_BYTES:
            self._number, self._content, self._written = self._number + 1, b"", 0
