"""What a run shows and records: a progress bar, metrics.jsonl, TensorBoard files."""

import contextlib
import math
import os
import sys
import time
from pathlib import Path

from tqdm import tqdm

from components import told
from parallel.processes import is_first, is_silent
from workdir import strict_json
from workdir.files import replacing
from workdir.full_disk import OF_THE_DISK, unheard


def say(message):
    """Prints a line to standard error without breaking a progress bar; process 0 does so for all."""
    if is_silent():
        return
    with unheard():
        tqdm.write("\n".join(told("", message.splitlines())), file=sys.stderr)


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


class Records:
    """Scalars and pictures of a run by step, in `metrics.jsonl` and TensorBoard files of process 0.

    What a killed run recorded after the step it resumes from is dropped, so that each
    step stands in the file once. What a full disk does not take is kept in memory and written with what
    comes next; TensorBoard goes without it.

    Args:
      workdir: folder of the run.
      start: step from which the run goes on.
    """

    def __init__(self, workdir, start):
        self._writes = is_first()
        if not self._writes:
            return
        path = Path(workdir) / "metrics.jsonl"
        kept = [row for row in read_metrics(workdir) if row["step"] <= start]
        with replacing(path) as temporary:
            temporary.write_text("".join(strict_json.dumps(row) + "\n" for row in kept))
        # Without a buffer, which would keep half of what a full disk refused.
        self._file, self._waiting = path.open("ab", buffering=0), []
        self._folder, self._events, self._dark = Path(workdir) / "tensorboard", None, False
        self._to_events(start, lambda events: None)

    def scalars(self, step, values):
        """Records a dict of numbers at a step; one that is not finite is left out, which is said."""
        if not self._writes:
            return
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        for name in values.keys() - finite.keys():
            say(f"warning: {name} is {values[name]} at step {step}, and is left out of the records")
        told = bool(self._waiting)
        self._waiting.append(strict_json.dumps({"step": step, **finite}) + "\n")
        try:
            self._write()
        except OSError as error:
            if error.errno not in OF_THE_DISK:
                raise
            if not told:
                say(
                    f"warning: metrics.jsonl cannot be written ({error.strerror}); what it has not got is "
                    "kept until it can"
                )
        self._to_events(step, lambda events: events.scalars(step, finite))

    def image(self, step, name, picture):
        """Records a uint8 picture [H, W, C] in TensorBoard."""
        if self._writes:
            self._to_events(step, lambda events: events.image(step, name, picture))

    def close(self):
        """Flushes both.

        Raises:
          OSError: metrics.jsonl still cannot be written.
        """
        if not self._writes:
            return
        if self._events:
            self._to_events(0, lambda events: events.close())
        with contextlib.closing(self._file):
            self._write()

    def _write(self):
        """Appends the lines that wait, all of them or none."""
        content = memoryview("".join(self._waiting).encode())
        whole = os.fstat(self._file.fileno()).st_size
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError:
            # Half a line would damage the next one.
            self._file.truncate(whole)
            raise
        self._waiting = []

    def _to_events(self, step, write):
        """Hands TensorBoard's file to `write`; after an error a new file is begun at the next step."""
        try:
            self._events = self._events or _Events(self._folder, step)
            write(self._events)
            self._dark = False
        except OSError as error:
            self._events = None
            if error.errno not in OF_THE_DISK:
                raise
            if not self._dark:
                say(f"warning: TensorBoard's file cannot be written ({error.strerror}), and goes without")
            self._dark = True


class _Events:
    """A file of events for TensorBoard.

    They are written where they arise: a thread that a full disk stopped would leave the loop waiting for it.
    """

    def __init__(self, folder, start):
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._summary, self._event = summary, Event
        folder.mkdir(parents=True, exist_ok=True)
        # Two runs within one second differ by their process.
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        # Hides what a killed run recorded after the step it resumes from.
        log = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(step=start + 1, wall_time=time.time(), session_log=log))

    def _write(self, step, content):
        self._writer.write_event(self._event(step=step, wall_time=time.time(), summary=content))

    def scalars(self, step, values):
        for name, value in values.items():
            self._write(step, self._summary.scalar(name, value))
        self._writer.flush()

    def image(self, step, name, picture):
        self._write(step, self._summary.image(name, picture, dataformats="HWC"))
        self._writer.flush()

    def close(self):
        self._writer.close()


def read_metrics(workdir):
    """The rows of a run's metrics.jsonl, oldest first.

    A last line that a kill cut off is skipped; other lines that cannot be read are, too, which is said.
    """
    rows, unreadable = rows_and_damage(workdir)
    if unreadable:
        say(f"warning: {Path(workdir) / 'metrics.jsonl'} is damaged: {unreadable}")
    return rows


def rows_and_damage(workdir):
    """(the rows of a run's metrics.jsonl, what is said of its unreadable lines, or "")."""
    path = Path(workdir) / "metrics.jsonl"
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
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
    if not unreadable:
        return rows, ""
    return rows, f"{len(unreadable)} of its lines, from line {unreadable[0]} on, are left out"
