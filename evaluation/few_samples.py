"""Metrics of few samples while a network trains: `training.sample_quality_every`."""

import numpy as np

from evaluation import features
from evaluation import reference as references
from evaluation.quality_settings import metric_refusals
from evaluation.sample_quality import (
    Drawn,
    described,
    described_reference,
    feature_set,
    figures_of,
    reference_of,
)


def refusals(config):
    """Lines about what a training run reads for `training.sample_quality_every`."""
    count = config.training.sample_quality_samples
    if count < 2:
        yield f"training.sample_quality_samples={count} must be at least 2."
    yield from metric_refusals(config)
    yield from features.refusals(config)
    yield from references.refusals(config)


class FewSamples:
    """Metrics of few samples while a network trains, with their number in the name of each.

    Args:
      experiment: Experiment; config: the whole config, resolved; data: RunData.
    """

    def __init__(self, experiment, config, data):
        self._count = config.training.sample_quality_samples
        self._metrics = config.eval.sample_quality.metrics
        self._reference = reference_of(config, data)
        extractor = self._reference.extractor
        self._drawn = Drawn(experiment, config.sampling, extractor, config.eval.batch_size)

    def __call__(self, params):
        """{"fid_n1000": value, ...} of these averaged parameters."""
        batch, parts = self._drawn.samples.batch_size, []
        for start in range(0, self._count, batch):
            numbers = np.arange(start, min(start + batch, self._count))
            parts.append(self._drawn(params, numbers)[1])
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        generated = feature_set(arrays, self._reference.extractor)
        found = figures_of(self._metrics, self._reference.features, generated)
        return {f"{name}_n{self._count}": e["value"] for name, e in found.items() if "value" in e}

    def said(self, step, found):
        """The line that a training run prints of these figures."""
        values = ", ".join(f"{name.rpartition('_n')[0]} {value:.4g}" for name, value in found.items())
        of = f"n={self._count}, {described(self._reference.extractor.identity)}"
        return f"step {step}: {values} ({of}, against {described_reference(self._reference.provenance)})"
