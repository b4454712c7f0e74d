"""The Inception Score against its definition and known answers."""

import numpy as np
import pytest

from metrics.inception_score import inception_score

RNG = np.random.default_rng(0)


def test_score_of_splits_is_that_of_a_plain_loop():
    logits = RNG.standard_normal((53, 7)) * 2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = []
    for split in range(5):
        part = p[split * 53 // 5 : (split + 1) * 53 // 5]
        marginal = part.mean(axis=0)
        kl = [sum(q[c] * np.log(q[c] / marginal[c]) for c in range(7)) for q in part]
        scores.append(np.exp(np.mean(kl)))
    found = inception_score(logits, splits=5)
    assert found["value"] == pytest.approx(np.mean(scores), rel=1e-12)
    assert found["standard_deviation"] == pytest.approx(np.std(scores), rel=1e-9)


def test_sure_and_varied_labels_count_the_classes_and_equal_ones_count_one():
    sure = 1e4 * np.eye(10)[np.arange(1000) % 10]
    assert inception_score(sure)["value"] == pytest.approx(10)
    assert inception_score(np.zeros((1000, 10)))["value"] == pytest.approx(1)


def test_standard_error_is_the_deviation_of_repeated_draws():
    rng = np.random.default_rng(1)
    found = [inception_score(2 * rng.standard_normal((500, 6))) for _ in range(300)]
    deviation = np.std([entry["value"] for entry in found])
    assert 0.85 < np.mean([entry["standard_error"] for entry in found]) / deviation < 1.15


def test_fewer_examples_than_splits_are_refused():
    with pytest.raises(ValueError, match="10 splits take 10 examples, and there are 9"):
        inception_score(np.zeros((9, 4)))
