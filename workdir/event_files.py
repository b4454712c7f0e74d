"""Files of events for TensorBoard, on a disk or uploaded to an object store as they grow."""

import os
import tempfile
import time
from pathlib import Path

from workdir import storage

SECONDS_BETWEEN_UPLOADS = 30.0
# Of an uploaded file, after which another one begins.
MOST_BYTES = 1 << 22


class OnDisk:
    """A file of events for TensorBoard in a folder of this machine.

    They are written where they arise: a thread that a full disk stopped would leave the loop waiting for it.
    """

    def __init__(self, folder, start, suffix=""):
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._summary, self._event = summary, Event
        folder.mkdir(parents=True, exist_ok=True)
        # Two runs within one second differ by their process.
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}{suffix}")
        # Hides what a killed run recorded after the step it resumes from.
        log = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(step=start + 1, wall_time=time.time(), session_log=log))

    def _write(self, step, content):
        self._writer.write_event(self._event(step=step, wall_time=time.time(), summary=content))

    def scalars(self, step, values):
        """Writes a dict of numbers."""
        for name, value in values.items():
            self._write(step, self._summary.scalar(name, value))
        self._writer.flush()

    def image(self, step, name, picture):
        """Writes a uint8 picture [H, W, C]."""
        self._write(step, self._summary.image(name, picture, dataformats="HWC"))
        self._writer.flush()

    def close(self):
        """Ends the file."""
        self._writer.close()


class Uploaded:
    """The same on an object store: a file of this machine that is uploaded whole as it grows.

    What the store does not take now it takes with a later upload, which is said once.

    Args:
      folder: path on a store; start: step from which the run goes on.
      say: takes a line.
    """

    def __init__(self, folder, start, say):
        self._folder, self._say = folder, say
        self._next, self._told, self._count = time.monotonic(), False, 0
        self._begin(start)

    def _begin(self, start):
        self._staging = tempfile.TemporaryDirectory()
        self._events = OnDisk(Path(self._staging.name), start, f".{self._count}")
        self._count += 1

    def scalars(self, step, values):
        """Writes a dict of numbers."""
        self._events.scalars(step, values)
        self._grown(step)

    def image(self, step, name, picture):
        """Writes a uint8 picture [H, W, C]."""
        self._events.image(step, name, picture)
        self._grown(step)

    def close(self):
        """Ends the file, and uploads it.

        Raises:
          OSError: the store does not take it.
        """
        self._events.close()
        self._upload()
        self._staging.cleanup()

    def _grown(self, step):
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SECONDS_BETWEEN_UPLOADS
        try:
            size = self._upload()
        except OSError as error:
            if not self._told:
                self._say(f"warning: TensorBoard's file cannot be written ({error.strerror}), and waits")
            self._told = True
            return
        self._told = False
        if size >= MOST_BYTES:
            self._events.close()
            self._staging.cleanup()
            self._begin(step)

    def _upload(self):
        """Uploads the file; its size."""
        (file,) = Path(self._staging.name).iterdir()
        storage.upload(file, self._folder / file.name)
        return file.stat().st_size
