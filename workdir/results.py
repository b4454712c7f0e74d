"""The files that a mode leaves behind, written by one process, each of them whole or not at all."""

import numpy as np

from parallel.processes import is_first
from workdir import storage
from workdir.files import prepare_workdir, replacing, replacing_folder, write_json
from workdir.records import say


class Results:
    """What a mode writes into a folder and prints. Process 0 alone does either.

    Two modes may write into one folder at once: of a file that both write the later one stays.

    Args:
      workdir: folder of the run.
      output: folder for the results, where it is not the workdir; made if it is not there.
      runs: the folder of --runs, where `workdir` is that one or lies in it; for messages.

    Attributes:
      folder: Path of the results.
      writes: whether this process writes; where it does not, what only results need may be left out.

    Raises:
      UserError: the folder cannot be written to.
    """

    def __init__(self, workdir, output=None, runs=None):
        if output:
            prepare_workdir(output, "--output")
        elif runs:
            prepare_workdir(workdir, "--runs", runs, "Name another folder for the results: --output=DIR.")
        else:
            prepare_workdir(workdir)
        self.folder, self.writes = storage.path(output or workdir), is_first()
        self._names = []

    def write(self, name, write, *arguments):
        """Writes a file by `write(path, *arguments)`: a figure of reports/, or another module's format."""
        if self.writes:
            with replacing(self.folder / name) as temporary:
                write(temporary, *arguments)
        self._names.append(name)

    def write_folder(self, name, suffix, write, *arguments):
        """Writes a folder of files by `write(path, *arguments)`, in place of what was in it.

        Args:
          suffix: of the files, or a tuple of several.
        """
        if self.writes:
            suffixes = (suffix,) if isinstance(suffix, str) else suffix
            with replacing_folder(self.folder / name, *suffixes) as temporary:
                write(temporary, *arguments)
        self._names.append(f"{name}/")

    def json(self, name, content):
        """Writes JSON; arrays become lists."""
        self.write(name, write_json, content)

    def arrays(self, name, **arrays):
        """Writes a compressed .npz file."""
        self.write(name, lambda path: np.savez_compressed(path, **arrays))

    def remove_others(self, *names):
        """Deletes those of the files that an earlier run left and this one has not written."""
        if self.writes:
            for name in set(names) - set(self._names):
                storage.remove(self.folder / name)

    def print(self, line):
        """Prints a line of the report."""
        if self.writes:
            print(line)

    def say_written(self):
        """Says which files were written, and where."""
        if self.writes:
            say(f"wrote {', '.join(dict.fromkeys(self._names))} to {self.folder}")
