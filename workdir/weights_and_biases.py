"""The records of a run at Weights & Biases, an extra: requirements/wandb.txt."""

import hashlib
import importlib.util
import os

from components import ConfigError
from workdir import storage


def refusals(project):
    """A line where a project is named and the package is not installed."""
    if project is not None and importlib.util.find_spec("wandb") is None:
        yield (
            f'training.wandb_project="{project}" needs the package wandb, which is not installed: '
            "python -m pip install -r requirements/wandb.txt"
        )


class Run:
    """Takes scalars and pictures by step, as workdir/records.py hands them on.

    A workdir is one run there, which goes on when the training does. Of steps that a killed run had
    recorded after the checkpoint from which it goes on, the first values stay. Where the network or the
    account is missing, wandb's own settings decide: WANDB_MODE=offline keeps all in the folder wandb of the
    workdir, for `wandb sync`.

    Args:
      project: its name there.
      workdir: folder of the run, whose name is that of the run there.
      config: dict of nested fields.

    Raises:
      ConfigError: no account, or no way to the service.
    """

    def __init__(self, project, workdir, config):
        import wandb

        on_store = storage.on_store(workdir)
        place = os.fspath(workdir) if on_store else os.path.abspath(workdir)
        self._picture = wandb.Image
        try:
            self._run = wandb.init(
                project=project,
                name=os.path.basename(place),
                id=hashlib.sha256(f"{project} {place}".encode()).hexdigest()[:16],
                resume="allow",
                dir=None if on_store else place,
                config=config,
                settings=wandb.Settings(console="off", silent=True),
            )
        except wandb.errors.Error as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(
                f'training.wandb_project="{project}": Weights & Biases refuses the run ({reason}). Log in '
                "with `wandb login`, set WANDB_MODE=offline, or leave the field out."
            ) from error

    def scalars(self, step, values):
        """Records a dict of numbers."""
        self._run.log(values, step=step)

    def image(self, step, name, picture):
        """Records a uint8 picture [H, W, C]."""
        self._run.log({name: self._picture(picture)}, step=step)

    def close(self):
        """Sends what waits."""
        self._run.finish()
