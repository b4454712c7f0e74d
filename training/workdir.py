"""The folder of a run."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from creation import UserError


def prepare_workdir(workdir):
    """Creates the folder and makes sure that files can be written to it.

    Raises:
      UserError: names the folder and the reason.
    """
    try:
        Path(workdir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir) as file:
            file.write(b"x")
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} cannot be written to: {error.strerror}. Choose another folder."
        ) from None


def write_json(path, content):
    """Writes JSON in one piece: a kill leaves the old file or the new one."""
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=2, default=_plain) + "\n")
    os.replace(temporary, path)


def _plain(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value)} is not JSON")
