"""The table of evaluators: what `eval.evaluators` chooses from. A new one is a file and a line here."""

from components import Refusals, choose
from evaluation.bits_per_dim import BitsPerDim
from evaluation.bounds import VariationalBound, unused_variance
from evaluation.diagnostics import ScoreDiagnostics
from evaluation.loss import Loss
from evaluation.sample_quality import SampleQuality
from evaluation.two_sample import TwoSample

EVALUATORS = {
    "loss": Loss(),
    "two_sample": TwoSample(),
    "bits_per_dim": BitsPerDim(),
    "discrete_bound": VariationalBound("discrete_bound"),
    "continuous_bound": VariationalBound("continuous_bound"),
    "diagnostics": ScoreDiagnostics(),
    "sample_quality": SampleQuality(),
}


def chosen(config):
    """The rows that `eval.evaluators` names, each once.

    Raises:
      ConfigError: a name that there is none of.
    """
    names = dict.fromkeys(config.eval.evaluators)
    return [choose(EVALUATORS, name, "eval.evaluators") for name in names]


def refusals(config):
    """Lines about `eval.evaluators`, and about what the chosen ones read."""
    refused = Refusals()
    if not config.eval.evaluators:
        yield f"eval.evaluators=() measures nothing. Name some of {', '.join(EVALUATORS)}."
    with refused:
        for evaluator in chosen(config):
            refused.add(evaluator.refusals(config))
    refused.add(unused_variance(config))
    yield from refused.lines


def needs(config):
    """What the chosen evaluators read beside the model: a subset of {"data", "samples"}."""
    return {need for evaluator in chosen(config) for need in evaluator.needs(config)}
