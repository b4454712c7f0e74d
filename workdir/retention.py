"""Which checkpoints of a run stay: the latest, every so many steps, those of the smallest held-out loss."""

import datetime
from typing import NamedTuple

from orbax.checkpoint import checkpoint_managers


def policy(config, losses):
    """What Orbax's manager asks which checkpoints to keep; one that any reason keeps stays.

    Args:
      config: the subtree `checkpoint`; losses: {step: held-out loss}, which grows.
    """
    policies = [checkpoint_managers.LatestN(config.keep)]
    if config.keep_every:
        policies.append(checkpoint_managers.EveryNSteps(config.keep_every))
    if config.keep_best:
        policies.append(_Best(config.keep_best, losses))
    return checkpoint_managers.AnyPreservationPolicy(policies)


class _Measured(NamedTuple):
    """What a policy of Orbax asks of a checkpoint; `metrics` is its held-out loss, or None."""

    step: int
    time: datetime.datetime
    metrics: float | None


class _Best:
    """Preserves the checkpoints whose steps have the smallest held-out losses, by Orbax's policy BestN.

    The losses are those of metrics.jsonl: a checkpoint is written before its loss is measured.

    Args:
      count: how many; losses: {step: loss}, which grows.
    """

    def __init__(self, count, losses):
        self._losses = losses
        self._best = checkpoint_managers.BestN(
            n=count,
            get_metric_fn=lambda loss: loss,
            reverse=True,
            keep_checkpoints_without_metrics=False,
        )

    def should_preserve(self, checkpoints, *, context):
        """Whether each of the checkpoints is among the best."""
        known = [_Measured(found.step, found.time, self._losses.get(found.step)) for found in checkpoints]
        return self._best.should_preserve(known, context=context)
