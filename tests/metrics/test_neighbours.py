"""Two-sample metrics on sets whose answer is known."""

import numpy as np
import pytest

from metrics import FeatureSet, distances, intervals, measure, one_nearest_neighbour, precision_recall
from metrics.distances import balls_around, nearest
from metrics.neighbours import density_coverage, memorization

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


def test_density_and_coverage_agree_with_their_definitions():
    real, generated = RNG.standard_normal((40, 3)), 0.5 + RNG.standard_normal((30, 3))
    inside, covered = 0, 0
    for r in real:
        radius = np.sort(np.linalg.norm(real - r, axis=1))[5]
        within = np.linalg.norm(generated - r, axis=1) <= radius
        inside += within.sum()
        covered += within.any()
    found = density_coverage(real, generated, neighbours=5)
    assert found["density"] == pytest.approx(inside / (5 * 30))
    assert found["coverage"] == pytest.approx(covered / 40)


def test_copies_have_full_precision_recall_and_coverage():
    # A copy of a k-th neighbour lies on the border of a ball, whatever the rounding.
    real = RNG.standard_normal((300, 40)) + 50
    found = precision_recall(real, real[::-1])
    assert (found["precision"], found["recall"]) == (1.0, 1.0)
    assert density_coverage(real, real[::-1])["coverage"] == 1.0
    line = np.arange(20.0).reshape(-1, 1) * 0.1
    assert balls_around(line[:1], np.array([0.0]), line).tolist() == [1] + [0] * 19


def test_neighbours_are_those_of_float64_where_float32_cannot_tell(monkeypatch):
    # Far from the origin, and distances that differ in the seventh digit.
    support = 1e3 + RNG.standard_normal((200, 8))
    support[100:] = support[:100] + 1e-7 * RNG.standard_normal((100, 8))
    queries = support[:50] + 0.1 * RNG.standard_normal((50, 8))
    monkeypatch.setattr(distances, "PAIRS", 1500)
    squares, indices = nearest(support, queries, 4)
    all_squares = ((queries[:, None] - support) ** 2).sum(axis=2)
    np.testing.assert_array_equal(indices, np.argsort(all_squares, axis=1)[:, :4])
    np.testing.assert_allclose(squares, np.sort(all_squares, axis=1)[:, :4], rtol=1e-12)
    own, others = nearest(support, support, 2, leave_out_self=True)
    assert not (others == np.arange(200)[:, None]).any()
    twins = (np.arange(200) + 100) % 200
    np.testing.assert_array_equal(others[:, 0], twins)
    assert (own[:, 0] < 1e-11).all()


@pytest.mark.parametrize("dimensions", [3, 2048])
def test_rough_distances_are_within_their_bound(dimensions):
    center = 5 * RNG.standard_normal(dimensions)
    queries, support = (
        (center + np.exp(RNG.standard_normal((60, dimensions)))).astype(np.float32) for _ in range(2)
    )
    for rows, rough, bound in distances.Screened(queries, support).blocks():
        errors = np.abs(rough - distances.exact(queries[rows][:, None], support[None]))
        assert (errors < bound / 2).all() and (errors > 0).any()


def test_memorization_finds_the_copies_and_no_others():
    training = RNG.standard_normal((500, 40))
    fresh = RNG.standard_normal((20, 40))
    copies = training[[3, 77, 400]] + 0.01 * RNG.standard_normal((3, 40))
    found = memorization(training, np.concatenate([copies, fresh]))
    assert found["nearest"][:3].tolist() == [3, 77, 400]
    assert (found["ratio"][:3] < 0.1).all() and (found["ratio"][3:] > 1).all()
    one = np.linalg.norm(training - fresh[0], axis=1)
    expected = one.min() / (0.5 * np.sort(one)[:50].mean())
    assert found["ratio"][3] == pytest.approx(expected)
    exact = memorization(np.zeros((60, 2)), np.zeros((1, 2)))
    assert exact["ratio"].tolist() == [0.0]
    entry = measure(
        ["memorization"], FeatureSet(training), FeatureSet(np.concatenate([fresh] * 3 + [copies]))
    )["memorization"]
    assert entry["value"] == pytest.approx(3 / 63)
    assert sorted(pair[:2] for pair in entry["nearest_copies"][:3]) == [[60, 3], [61, 77], [62, 400]]


def _pair(rng, real, generated):
    return rng.standard_normal((real, 4)), 0.5 + 0.9 * rng.standard_normal((generated, 4))


def _in_the_same_places(rng, real, generated):
    points = 10 + rng.standard_normal((40, 4))
    return points[np.arange(real) % 40], points[np.arange(generated) % 39]


@pytest.mark.parametrize("draw", [_pair, _in_the_same_places])
def test_errors_are_those_of_figures_without_each_group(draw):
    real, generated = draw(np.random.default_rng(3), 130, 110)
    of = intervals.groups(len(real)), intervals.groups(len(generated), seed=1)
    assert np.bincount(of[0]).tolist() == [7] * 10 + [6] * 10
    without = [(real[of[0] != j], generated[of[1] != j]) for j in range(intervals.GROUPS)]
    figures = measure(["density_coverage"], FeatureSet(real), FeatureSet(generated))
    expected = [density_coverage(*pair) for pair in without]
    for name, entry in figures.items():
        error = intervals.jackknife([found[name] for found in expected])
        assert entry["standard_error"] == pytest.approx(error, rel=1e-6, abs=1e-12)
        assert error > 0 or draw is _in_the_same_places
    # These cut both sets to the same size first.
    real, of = real[:110], (intervals.groups(110), of[1])
    without = [(real[of[0] != j], generated[of[1] != j]) for j in range(intervals.GROUPS)]
    figures = measure(["precision_recall", "one_nearest_neighbour"], FeatureSet(real), FeatureSet(generated))
    expected = [
        {**precision_recall(*pair), "one_nearest_neighbour": one_nearest_neighbour(*pair)["accuracy"]}
        for pair in without
    ]
    for name, entry in figures.items():
        error = intervals.jackknife([found[name] for found in expected])
        assert entry["standard_error"] == pytest.approx(error, rel=1e-6, abs=1e-12)
        assert error > 0 or draw is _in_the_same_places


def test_intervals_of_parts_stay_within_them_and_say_something_of_none():
    rng = np.random.default_rng(0)
    near, far = FeatureSet(rng.standard_normal((300, 4))), FeatureSet(100 + rng.standard_normal((300, 4)))
    names = ("precision_recall", "density_coverage", "one_nearest_neighbour", "memorization")
    apart = measure(names, near, far)
    for name in ("precision", "recall", "coverage", "memorization"):
        low, high = apart[name]["interval"]
        assert low == 0 and 0.003 < high < 0.03, name
    low, high = apart["one_nearest_neighbour"]["interval"]
    assert 0.97 < low < 1 and high == 1
    assert apart["density"]["value"] == 0 and "interval" not in apart["density"]
    few = measure(names[:3], FeatureSet(near.features[:60]), FeatureSet(near.features[60:120]))
    assert not any("interval" in entry for entry in few.values())


def test_an_interval_changes_little_where_all_but_one_are_inside():
    # Of dependent examples: an error thrice that of independent ones.
    (near, _), (all_of_them, end) = (intervals.of_part(p, 0.03, 100, 19) for p in (0.99, 1.0))
    assert near < all_of_them < 0.9 and end == 1.0
    for count in range(1, 200):
        assert intervals.of_part(1.0, 0.0, count)[1] == 1.0 and intervals.of_part(0.0, 0.0, count)[0] == 0.0


def _mixture(rng, count, width):
    centers = 2 * np.random.default_rng(99).standard_normal((40, 16))
    return centers[rng.integers(0, 40, count)] + width * rng.standard_normal((count, 16))


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: (rng.standard_normal((400, 4)), 0.3 + 1.1 * rng.standard_normal((400, 4))),
        lambda rng: (_mixture(rng, 1463, 0.3), _mixture(rng, 300, 0.5)),
    ],
    ids=["Gaussians", "clusters"],
)
def test_intervals_of_neighbours_figures_cover(draw):
    names = ("precision_recall", "density_coverage", "one_nearest_neighbour")
    rng = np.random.default_rng(2)
    found = [measure(names, *map(FeatureSet, draw(rng))) for _ in range(100)]
    for name in found[0]:
        mean = np.mean([entries[name]["value"] for entries in found])
        covering = np.array([entries[name]["interval"] for entries in found])
        # Of 100 at 95% fewer than 88 are one in 400.
        assert np.mean((covering[:, 0] <= mean) & (mean <= covering[:, 1])) >= 0.88, name
