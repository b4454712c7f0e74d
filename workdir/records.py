"""What a run shows and records: a progress bar, metrics.jsonl, TensorBoard files."""

import json
import sys
import time
from pathlib import Path

from tqdm import tqdm

from parallel.processes import is_first
from workdir.files import replacing


def say(message):
    """Prints a line to standard error without breaking a progress bar."""
    tqdm.write(message, file=sys.stderr)


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
        self._terminal = sys.stderr.isatty()
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
        if not self._terminal and (done or time.monotonic() - self._last > self._seconds):
            self._last = time.monotonic()
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
    step stands in the file once.

    Args:
      workdir: folder of the run.
      start: step from which the run goes on.
    """

    def __init__(self, workdir, start):
        self._writes = is_first()
        if not self._writes:
            return
        from tensorboardX import SummaryWriter

        path = Path(workdir) / "metrics.jsonl"
        kept = [row for row in read_metrics(workdir) if row["step"] <= start]
        with replacing(path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._file = path.open("a")
        self._writer = SummaryWriter(str(Path(workdir) / "tensorboard"), purge_step=start + 1)

    def scalars(self, step, values):
        """Records a dict of numbers at a step."""
        if not self._writes:
            return
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(name, value, step)

    def image(self, step, name, picture):
        """Records a uint8 picture [H, W, C] in TensorBoard."""
        if self._writes:
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self):
        """Flushes both."""
        if self._writes:
            self._file.close()
            self._writer.close()


def read_metrics(workdir):
    """The rows of a run's metrics.jsonl, oldest first; a line that is no row of numbers is skipped.

    A kill leaves such a line, which it cut off.
    """
    path = Path(workdir) / "metrics.jsonl"
    rows = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and "step" in row and all(isinstance(v, int | float) for v in row.values()):
            rows.append(row)
    return rows
