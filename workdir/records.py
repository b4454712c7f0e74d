"""What a run shows and records: a progress bar, metrics.jsonl, TensorBoard files."""

import contextlib
import math
import os
import sys
import time

from tqdm import tqdm

from components import told
from parallel.processes import is_first, is_silent
from workdir import event_files, parts, storage, strict_json
from workdir.files import replacing
from workdir.full_disk import OF_THE_DISK, unheard


def say(message):
    """Prints a line to standard error without breaking a progress bar; process 0 does so for all."""
    if is_silent():
        return
    with unheard():
        tqdm.write("\n".join(told("", message.splitlines())), file=sys.stderr)


class Waiting:
    """Says what is waited for, at once and every few minutes with how long it has been.

    Args:
      what: of "waiting for ...".
      seconds: between two lines.
    """

    def __init__(self, what, seconds=300.0):
        self._what, self._seconds = what, seconds
        self._begun, self._said = time.monotonic(), None

    def __call__(self):
        """To be called again and again while it is waited."""
        now = time.monotonic()
        if self._said is None:
            say(f"waiting for {self._what}")
        elif now - self._said < self._seconds:
            return
        else:
            say(
                f"still waiting, for {(now - self._begun) / 60:.0f} minutes, for {self._what}; Ctrl-C ends it"
            )
        self._said = now


class Progress:
    """Progress of long work: a bar on a terminal, a line every few seconds elsewhere.

    Args:
      total: amount of work; initial: amount already done.
      unit: what is counted.
      description: shown in front.
      seconds: between lines where standard error is not a terminal.
    """

    def __init__(self, total, unit, description, initial=0, seconds=10.0):
        self._seconds, self._last = seconds, -float("inf")
        self._terminal = sys.stderr.isatty() and not is_silent()
        self._bar = tqdm(
            total=total,
            initial=initial,
            unit=unit,
            desc=description,
            dynamic_ncols=True,
            file=sys.stderr if self._terminal else _Nowhere(),
            mininterval=0.2,
        )

    def update(self, amount, **shown):
        """Advances by `amount` and shows further values by name."""
        if shown:
            self._bar.set_postfix({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in shown.items()})
        self._bar.update(amount)
        done = self._bar.n >= self._bar.total
        if not self._terminal and not is_silent() and (done or time.monotonic() - self._last > self._seconds):
            self._last = time.monotonic()
            with unheard():
                print(str(self._bar), file=sys.stderr, flush=True)

    def close(self):
        """Ends the bar."""
        self._bar.close()


class _Nowhere:
    def write(self, text):
        pass

    def flush(self):
        pass


class _Disk:
    """metrics.jsonl on a disk, to which lines are appended."""

    def __init__(self, path):
        # Without a buffer, which would keep half of what a full disk refused.
        self._file = path.open("ab", buffering=0)

    def append(self, content):
        """Appends whole lines, all of them or none; whether all that was ever taken is written."""
        content = memoryview(content)
        whole = os.fstat(self._file.fileno()).st_size
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError:
            # Half a line would damage the next one.
            self._file.truncate(whole)
            raise
        return True

    def flush(self):
        pass

    def close(self):
        self._file.close()


class Records:
    """Scalars and pictures of a run by step, in `metrics.jsonl` and TensorBoard files of process 0.

    What a killed run recorded after the step it resumes from is dropped, so that each
    step stands in the file once. What a full disk does not take is kept in memory and written with what
    comes next; TensorBoard goes without it. On an object store both are numbered parts, which are written
    every few seconds and by `flush`.

    Args:
      workdir: folder of the run.
      start: step from which the run goes on.
      also: () -> an object with `scalars`, `image` and `close` that takes all of it, too, made on process 0;
        or None.
    """

    def __init__(self, workdir, start, also=None):
        self._writes = is_first()
        if not self._writes:
            return
        self._also = also and also()
        folder = storage.path(workdir)
        self._sink = _resumed_parts(folder, start) if storage.on_store(folder) else _resumed(folder, start)
        self._waiting, self._told = [], False
        self._folder, self._events, self._dark = folder / "tensorboard", None, False
        self._to_events(start, lambda events: None)

    def scalars(self, step, values):
        """Records a dict of numbers at a step; one that is not finite is left out, which is said."""
        if not self._writes:
            return
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        for name in values.keys() - finite.keys():
            say(f"warning: {name} is {values[name]} at step {step}, and is left out of the records")
        self._waiting.append(strict_json.dumps({"step": step, **finite}) + "\n")
        with self._kept():
            self._write()
        self._to_events(step, lambda events: events.scalars(step, finite))
        if self._also:
            self._also.scalars(step, finite)

    def flush(self):
        """Writes what waits for its time; to be called before a checkpoint, which goes on from there."""
        if self._writes:
            with self._kept():
                self._sink.flush()

    @contextlib.contextmanager
    def _kept(self):
        """A block that writes rows: what is not taken is kept, which is said once."""
        try:
            yield
        except OSError as error:
            if error.errno not in OF_THE_DISK:
                raise
            if not self._told:
                say(
                    f"warning: metrics.jsonl cannot be written ({error.strerror}); what it has not got is "
                    "kept until it can"
                )
            self._told = True

    def image(self, step, name, picture):
        """Records a uint8 picture [H, W, C] in TensorBoard."""
        if self._writes:
            self._to_events(step, lambda events: events.image(step, name, picture))
            if self._also:
                self._also.image(step, name, picture)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            self.close()
        except OSError:
            if error is None:
                raise
            say(f"warning: {len(self._waiting)} rows of metrics.jsonl could not be written, and are lost")

    def close(self):
        """Writes what waits and flushes both; called again it does nothing.

        Raises:
          OSError: metrics.jsonl still cannot be written.
        """
        if not self._writes:
            return
        self._writes = False
        if self._also:
            self._also.close()
        if self._events:
            self._to_events(0, lambda events: events.close())
        with contextlib.closing(self._sink):
            self._write()
            self._sink.flush()

    def _write(self):
        """Appends the lines that wait, all of them or none."""
        if self._sink.append("".join(self._waiting).encode()):
            self._told = False
        self._waiting = []

    def _to_events(self, step, write):
        """Hands TensorBoard's file to `write`; after an error a new file is begun at the next step."""
        try:
            self._events = self._events or self._new_events(step)
            write(self._events)
            self._dark = False
        except OSError as error:
            self._events = None
            if error.errno not in OF_THE_DISK:
                raise
            if not self._dark:
                say(f"warning: TensorBoard's file cannot be written ({error.strerror}), and goes without")
            self._dark = True

    def _new_events(self, step):
        if storage.on_store(self._folder):
            return event_files.Uploaded(self._folder, step, say)
        return event_files.OnDisk(self._folder, step)


def _resumed(folder, start):
    """metrics.jsonl on a disk, without what a killed run recorded after the step `start`."""
    path = folder / "metrics.jsonl"
    kept = [row for row in read_metrics(folder) if row["step"] <= start]
    with replacing(path) as temporary:
        temporary.write_text("".join(strict_json.dumps(row) + "\n" for row in kept))
    # Of a run that was copied from a store: their rows are in the file now.
    for part in parts.numbered(folder, path.name).values():
        part.unlink()
    return _Disk(path)


def _resumed_parts(folder, start):
    """The parts of metrics.jsonl on a store, without what a killed run recorded after the step `start`."""
    for part in _files(folder):
        rows, _ = _rows_of(storage.read_text(part, "replace").splitlines())
        kept = [row for row in rows if row["step"] <= start]
        if not kept:
            storage.remove(part)
        elif len(kept) < len(rows):
            text = "".join(strict_json.dumps(row) + "\n" for row in kept)
            storage.write_bytes(part, text.encode())
    return parts.Parts(folder, "metrics.jsonl")


def read_metrics(workdir):
    """The rows of a run's metrics.jsonl, oldest first.

    A last line that a kill cut off is skipped; other lines that cannot be read are, too, which is said.
    """
    rows, unreadable = rows_and_damage(workdir)
    if unreadable:
        say(f"warning: {storage.path(workdir) / 'metrics.jsonl'} is damaged: {unreadable}")
    return rows


def rows_and_damage(workdir):
    """(the rows of a run's metrics.jsonl, what is said of its unreadable lines, or "")."""
    texts = [storage.read_text(file, "replace") for file in _files(storage.path(workdir))]
    rows, unreadable = _rows_of([line for text in texts for line in text.splitlines()])
    if not unreadable:
        return rows, ""
    return rows, f"{len(unreadable)} of its lines, from line {unreadable[0]} on, are left out"


def _files(folder):
    """Paths of a run's metrics.jsonl and its parts, those that there are, the oldest first."""
    path = folder / "metrics.jsonl"
    return [*([path] if path.exists() else []), *parts.numbered(folder, path.name).values()]


def _rows_of(lines):
    """(the rows of lines, the numbers of those that cannot be read, but for a last one)."""
    rows, unreadable = [], []
    for number, line in enumerate(lines, 1):
        try:
            row = strict_json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict) and "step" in row and all(isinstance(v, int | float) for v in row.values()):
            rows.append(row)
        elif number < len(lines):
            unreadable.append(number)
    return rows, unreadable
