"""A run that is evaluated while it trains: its checkpoints as they come, until the last."""

import time

from components import UserError
from experiment.create import resolved
from experiment.load import load
from workdir.checkpoints import Checkpoints
from workdir.records import Waiting, say

POLL_SECONDS = 2.0


def refusals(config):
    """Lines about `eval.follow` and what chooses one checkpoint."""
    if not config.eval.follow:
        return
    if config.mixture.name:
        yield f'eval.follow=True follows a training run, and mixture.name="{config.mixture.name}" has none.'
    for field, value in (
        ("restore.step", config.restore.step),
        ("restore.file", config.restore.file),
        ("eval.sample_quality.steps", config.eval.sample_quality.steps or None),
    ):
        if value is not None:
            yield (
                f"{field}={value} chooses a checkpoint, and eval.follow=True takes each as it comes. Leave "
                "it out."
            )


def _steps(config, workdir):
    """Steps of the checkpoints that are there now, the earliest first."""
    checkpoints = Checkpoints(workdir, resolved(config), read_only=True)
    try:
        return sorted(checkpoints.all_steps())
    finally:
        checkpoints.close()


def _loaded(config, workdir, reads, step):
    """The Run of a step; None where the trainer has deleted its checkpoint."""
    chosen = config.copy_and_resolve_references()
    chosen.restore.step = step
    try:
        return load(workdir, chosen, reads)
    except UserError:
        if step in _steps(config, workdir):
            raise
        say(
            f"step {step} is left out: its checkpoint was deleted before it was read. A larger "
            "checkpoint.keep keeps more of them"
        )
        return None


def followed(config, workdir, reads):
    """Yields the Run of each checkpoint, the earliest first, as they come; ends after that of the last step.

    What the trainer deletes before it is read is left out. The last step is `training.steps`
    of the run's own record.

    Args:
      reads: see experiment.load.
    """
    seen, last = set(), None
    waiting = Waiting(f"a checkpoint in {workdir}")
    while True:
        new = [step for step in _steps(config, workdir) if step not in seen]
        if new:
            seen.add(new[0])
            run = _loaded(config, workdir, reads, new[0])
            if run is not None:
                last = run.checkpoint["config"]["training"]["steps"]
                yield run
        elif last is not None and max(seen) >= last:
            return
        else:
            if not seen:
                waiting()
            time.sleep(POLL_SECONDS)
