"""Two-sample metrics on sets whose answer is known."""

import numpy as np
import pytest

from metrics import one_nearest_neighbour, precision_recall

RNG = np.random.default_rng(0)


def test_two_draws_of_one_law_cannot_be_told_apart():
    a, b = RNG.standard_normal((2, 2000, 4))
    found = one_nearest_neighbour(a, b)
    assert abs(found["accuracy"] - 0.5) < 4 * found["accuracy_standard_error"]


def test_distant_sets_are_told_apart_and_copies_are_below_chance():
    a = RNG.standard_normal((100, 2, 2, 1))
    assert one_nearest_neighbour(a, a + 100)["accuracy"] == 1.0
    assert one_nearest_neighbour(a, a + 1e-6)["accuracy"] == 0.0


def test_held_out_subsets_of_sorted_data_hold_every_class():
    from data.source import Source
    from evaluation.held_out import subset

    images = np.repeat(np.arange(10, dtype=np.uint8), 100).reshape(-1, 1, 1, 1)
    chosen = subset(Source(images, None, 256, "by class"), 1000)["image"][:100]
    assert len(np.unique(chosen)) == 10


def test_ties_count_half():
    # Every point coincides with one of each set: no information, 0.5 up to the leave-one-out.
    points = np.array([[0.0], [0.0], [5.0], [5.0]])
    found = one_nearest_neighbour(points, points)
    assert found["accuracy"] == pytest.approx(1 / 3)


def test_accuracy_agrees_with_a_plain_loop():
    a, b = RNG.standard_normal((30, 3)), 0.5 + RNG.standard_normal((30, 3))
    points, labels = np.concatenate([a, b]), np.repeat([0, 1], 30)
    correct = 0
    for i in range(60):
        distances = np.linalg.norm(points - points[i], axis=1)
        distances[i] = np.inf
        correct += labels[distances.argmin()] == labels[i]
    assert one_nearest_neighbour(a, b)["accuracy"] == pytest.approx(correct / 60)


def test_precision_sees_quality_and_recall_sees_coverage():
    real = np.concatenate([RNG.standard_normal((200, 2)), 50 + RNG.standard_normal((200, 2))])
    one_mode = RNG.standard_normal((400, 2))
    found = precision_recall(real, one_mode, neighbours=3)
    assert found["precision"] > 0.9 and 0.4 < found["recall"] < 0.55
    swapped = precision_recall(one_mode, real, neighbours=3)
    assert (swapped["precision"], swapped["recall"]) == (found["recall"], found["precision"])


def test_precision_agrees_with_its_definition():
    real, generated = RNG.standard_normal((40, 3)), 1 + RNG.standard_normal((40, 3))
    within = 0
    radii = [np.sort(np.linalg.norm(real - r, axis=1))[3] for r in real]
    for g in generated:
        within += any(np.linalg.norm(g - r) <= radius for r, radius in zip(real, radii, strict=True))
    assert precision_recall(real, generated, neighbours=3)["precision"] == pytest.approx(within / 40)
