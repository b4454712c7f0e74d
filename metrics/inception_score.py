"""The Inception Score: exp(E KL(p(y|x) || p(y))) of a classifier's labels (Salimans et al. 2016)."""

import itertools

import numpy as np


def _divergences(logits):
    """[N] Kullback-Leibler divergences of each example's labels from those of all, in nats."""
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    marginal = p.mean(axis=0)
    # A label that has underflowed in all examples has no part in any of them.
    log_marginal = np.log(np.where(marginal > 0, marginal, 1))
    return (p * (log_p - log_marginal)).sum(axis=1)


def inception_score(logits, splits=10, seed=None):
    """The mean and the standard deviation over splits, as published.

    A split of N / splits examples has the bias of so few. The standard error is of the mean: in log of the
    score the examples' divergences are its influences, since that of the marginal vanishes.

    Args:
      logits: [N, classes], N of `splits` or more.
      seed: of the order in which examples are split; None: as they stand.

    Returns:
      {"value", "standard_error", "standard_deviation", "splits", "n"}.

    >>> round(inception_score(100 * np.eye(4)[np.arange(40) % 4])["value"], 6)
    4.0
    """
    if len(logits) < splits:
        raise ValueError(f"{splits} splits take {splits} examples, and there are {len(logits)}")
    logits = np.asarray(logits)
    if seed is not None:
        logits = logits[np.random.default_rng(seed).permutation(len(logits))]
    edges = np.arange(splits + 1) * len(logits) // splits
    parts = [_divergences(logits[a:b]) for a, b in itertools.pairwise(edges)]
    scores = np.exp([part.mean() for part in parts])
    errors = scores * [part.std() / np.sqrt(len(part)) for part in parts]
    return {
        "value": float(scores.mean()),
        "standard_error": float(np.sqrt(np.sum(errors**2)) / splits),
        "standard_deviation": float(scores.std()),
        "splits": splits,
        "n": len(logits),
    }


def figure(reference, generated, seed=0):
    """The entry of the Inception Score of a FeatureSet; the reference has no part in it."""
    return inception_score(generated.logits, seed=seed)
