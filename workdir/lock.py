"""A lock on a workdir: one training run, or one import, at a time writes checkpoints and records into it.

The lock is a file that says who holds it, made new every ten seconds. Failures that it is made for:

- A run was killed: its process is gone from this machine, and the lock is taken over at once. A process
  that has got the same number since is told by its start time.
- A run was killed on another machine, or in another container: the file is watched, for no two machines'
  clocks agree, and taken over if nothing becomes new for a minute.
- A run was suspended for longer than that and woke up: it finds another's name in the file, and stops
  before it saves.

On an object store the file is an object, written only where it still is the one that was read, or where there
was none.
"""

import contextlib
import datetime
import fcntl
import itertools
import json
import os
import secrets
import socket
import threading
import time
from pathlib import Path

from components import UserError
from parallel.processes import decided_by_first
from workdir import storage
from workdir.files import replacing
from workdir.records import say

SECONDS_BETWEEN_RENEWALS = 10.0
SECONDS_OF_SILENCE = 60.0


def _machine():
    """Tells hosts, boots and containers apart: process numbers mean something within one of them."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _start_time(pid):
    """When a process of this machine started, in a unit of its own; None if it does not run.

    Where the system does not tell, '' for every process that runs.
    """
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return ""
    try:
        # The name in parentheses may hold anything; the fields after it begin with the third, the state.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # A zombie has ended, and only its parent has not asked how.
    return None if fields[0] in "ZX" else fields[19]


@contextlib.contextmanager
def _alone(folder):
    """Keeps other processes from changing the lock at the same time.

    Where the file system cannot, or a process was suspended in its turn, two runs may believe that they hold
    the lock, until one of them reads the file again.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


class _File:
    """The lock of a workdir on a disk; all but `read` within `alone`."""

    def __init__(self, path):
        self._path = path

    def alone(self):
        return _alone(self._path.parent)

    def read(self):
        """The text of the lock, or None if there is none."""
        try:
            return self._path.read_text(errors="replace")
        except FileNotFoundError:
            return None

    def write(self, text, new):
        """Puts the text in its place; False where `new` and another was faster."""
        if not new:
            with replacing(self._path) as temporary:
                temporary.write_text(text)
            return True
        try:
            file = self._path.open("x")
        except FileExistsError:
            return False
        try:
            with file:
                file.write(text)
        except OSError:
            # On a full disk an empty lock would stay, and keep the next run waiting.
            self._path.unlink(missing_ok=True)
            raise
        return True

    def remove(self):
        self._path.unlink(missing_ok=True)


class _Object:
    """The lock of a workdir on an object store."""

    def __init__(self, path):
        self._path, self._version = path, None
        # What another run wrote may not become the version in whose place the renewing thread writes.
        self._mutex = threading.RLock()

    def alone(self):
        return self._mutex

    def read(self):
        """The text of the lock, or None if there is none."""
        with self._mutex:
            content, self._version = storage.read_version(self._path)
        return None if content is None else content.decode(errors="replace")

    def write(self, text, new):
        """Puts the text in the place of what was read last; False where another was faster."""
        version = storage.write_version(self._path, text.encode(), None if new else self._version)
        if version is None:
            return False
        self._version = version
        return True

    def remove(self):
        storage.remove_version(self._path, self._version)


class Lock:
    """Holds the lock of a workdir while its block runs; the processes of one run hold it together.

    Args:
      workdir: folder of the run.
      renewal: seconds between two renewals.
      silence: seconds without renewal after which another machine's lock is taken over.
      work: what is done to the workdir, for those who are refused.

    Raises:
      UserError: on entering, another run holds it; names its host, process and time.
    """

    def __init__(self, workdir, renewal=SECONDS_BETWEEN_RENEWALS, silence=SECONDS_OF_SILENCE, work="trained"):
        self._folder = storage.path(workdir)
        path = self._folder / "train.lock"
        self._file = _Object(path) if storage.on_store(path) else _File(path)
        self._renewal, self._silence, self._work = renewal, silence, work
        self._token, self._taken_by = secrets.token_hex(8), None
        self._leaving, self._thread = threading.Event(), None
        self._numbers = itertools.count()

    def __enter__(self):
        decided_by_first(self._take)
        return self

    def __exit__(self, *_):
        if self._thread is None:
            return
        self._leaving.set()
        self._thread.join()
        with contextlib.suppress(OSError), self._file.alone():
            if not self._look():
                self._file.remove()

    def require(self):
        """Stops a run that has lost its lock, on all processes; to be called before it writes.

        Raises:
          UserError: another run has taken the lock.
        """
        decided_by_first(self._require)

    def _require(self):
        with contextlib.suppress(OSError):
            self._look()
        if self._taken_by is not None:
            raise UserError(
                f"{self._folder} was taken over by {_name(self._taken_by)}, while this run gave "
                "no sign of life. This run stops without saving; the other one goes on."
            )

    def _take(self):
        watched, since = None, time.monotonic()
        while True:
            with self._file.alone():
                found = self._file.read()
                # A damaged lock was left by a run that was killed, or is made new at the next renewal.
                patience = self._silence if found is None or _parsed(found) else 2 * self._renewal
                silent = found == watched and time.monotonic() - since >= patience
                if found is None or silent or _is_dead(_parsed(found)):
                    if self._write(new=found is None):
                        break
                    continue
            holder = _parsed(found)
            if holder.get("machine") == _machine() or watched not in (None, found):
                raise UserError(_held(self._folder, holder))
            if watched is None:
                watched, since = found, time.monotonic()
                say(
                    f"{self._folder} is held by {_name(holder)}; waiting up to {patience:.0f} seconds "
                    "for another"
                )
            time.sleep(min(1.0, self._silence / 10))
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()

    def _renew(self):
        while not self._leaving.wait(self._renewal):
            # A disk that does not answer now may do so next time.
            with contextlib.suppress(OSError), self._file.alone():
                if self._look():
                    return
                self._write(new=False)

    def _look(self):
        """Whether another run holds the lock by now; remembers which."""
        holder = _parsed(self._file.read())
        if holder and holder.get("token") != self._token:
            self._taken_by = holder
        return self._taken_by is not None

    def _write(self, new):
        """Puts this run's name into the file; False where `new` and another was faster."""
        content = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _start_time(os.getpid()),
            "machine": _machine(),
            "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "token": self._token,
            "work": self._work,
            # What makes the file another one, where it is renewed more than once a second.
            "number": next(self._numbers),
        }
        return self._file.write(json.dumps(content), new)


def refusals(workdir):
    """A line, if a run that is known to be alive holds the lock of a workdir; nobody is waited for."""
    with contextlib.suppress(OSError):
        holder = _parsed(storage.read_text(storage.path(workdir) / "train.lock", "replace"))
        if holder.get("machine") == _machine() and not _is_dead(holder):
            yield _held(workdir, holder)


def _held(workdir, holder):
    work = holder.get("work", "trained")
    return f"{workdir} is being {work} by {_name(holder)}. Stop that run, or choose another --workdir."


def _parsed(text):
    """The content of a lock; {} of one that is being written, or damaged."""
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return {}


def _is_dead(holder):
    """Whether the process that holds a lock ran on this machine and does so no more."""
    return holder.get("machine") == _machine() and _start_time(holder["pid"]) != holder["started"]


def _name(holder):
    return (
        f"process {holder.get('pid', 'unknown')} of host {holder.get('host', 'unknown')}, last sign of life "
        f"{holder.get('time', 'unknown')}"
    )
