"""The arithmetic of plans, against figures worked out by hand."""

import pytest

from parallel.chips import CHIPS
from parallel.program_text import Collective
from parallel.roofline import largest_share, roofline, rounded, sent, weak_scaling

V5E = CHIPS["v5e"]


@pytest.mark.parametrize(
    ("flops", "size", "seconds", "limit", "utilization"),
    [
        # 197 TFLOP/s and 819 GB/s: the two limits meet at 240.5 FLOPs a byte.
        (394e9, 819e6, 0.002, "arithmetic", 1.0),
        (98.5e9, 1638e6, 0.002, "memory", 0.25),
    ],
)
def test_a_program_takes_as_long_as_its_slower_limit(flops, size, seconds, limit, utilization):
    found = roofline(flops, size, V5E)
    assert found.seconds == pytest.approx(seconds)
    assert found.limit == limit
    assert found.utilization() == pytest.approx(utilization)
    assert found.utilization(2 * seconds) == pytest.approx(utilization / 2)


def test_cycles_become_seconds_at_the_clock_of_the_peak():
    # Four units of 128 x 128 multiply-adds at 1.5 GHz are 197 TFLOP/s.
    assert V5E.flops == pytest.approx(2 * 4 * 128 * 128 * 1.5e9, rel=0.003)
    assert V5E.seconds(1.5e9) == pytest.approx(1.0, rel=0.003)


@pytest.mark.parametrize(
    ("kind", "size", "bytes_sent"),
    [
        # A ring of 4: an array of 400 goes round in parts of 100, three to sum it and three to share it.
        ("all-reduce", 400, 600),
        ("all-gather", 400, 300),
        # Its result is a part.
        ("reduce-scatter", 100, 300),
        ("all-to-all", 400, 300),
        ("collective-permute", 400, 400),
    ],
)
def test_each_device_sends_what_the_best_algorithm_needs(kind, size, bytes_sent):
    assert sent(Collective(kind, size, group=4, times=1)) == bytes_sent
    assert sent(Collective(kind, size, group=4, times=3)) == 3 * bytes_sent


def test_weak_scaling_adds_the_exchange_of_larger_groups():
    # 200 MB of gradients at 200 GB/s: 1 ms of each byte's way, which it goes 2 (n - 1) / n times.
    gradients = (Collective("all-reduce", 200_000_000, group=16, times=1),)
    rows = weak_scaling(0.010, gradients, 8, (1, 4, 256), 16, 1, V5E)
    assert [row.exchange for row in rows] == pytest.approx([0, 0.0015, 0.001 * 2 * 255 / 256])
    assert [row.images for row in rows] == [8, 32, 2048]
    assert [row.efficiency for row in rows] == pytest.approx([1, 10 / 11.5, 10 / (10 + 510 / 256)])
    assert rows[2].against_first == pytest.approx(rows[2].efficiency)
    assert rows[1].chip_seconds == pytest.approx(0.0115 / 8)


def test_groups_over_which_parameters_are_split_stay():
    parts = (Collective("all-gather", 200_000_000, 4, 1), Collective("all-reduce", 50_000_000, 2, 1))
    rows = weak_scaling(0.010, parts, 8, (8, 64), compiled_for=8, split_over=4, chip=V5E)
    # The gathering within 4, and the sum over 2 and 16 such groups.
    assert [row.exchange for row in rows] == pytest.approx(
        [0.00075 + 0.00025, 0.00075 + 0.00025 * 2 * 15 / 16]
    )


def _memory(fixed, each, limit, says=True):
    """A measure, and the shares that it was asked for."""
    asked = []

    def measure(share):
        asked.append(share)
        needed = fixed + each * share
        return (needed if says or needed <= limit else None), needed <= limit

    return measure, asked


@pytest.mark.parametrize("first", [1, 8, 64, 640])
@pytest.mark.parametrize("says", [True, False])
def test_the_search_finds_the_largest_share_to_a_sixteenth(first, says):
    limit = 1_000
    measure, asked = _memory(100, 3, limit, says)
    found = largest_share(measure, first, limit, most=8)
    # 300 fit.
    assert 300 * 15 / 16 - 1 <= found.share <= 300
    assert len(asked) == len(set(asked)) == len(found.tried) <= 8
    if says:
        assert len(asked) <= 4


def test_the_search_stops_at_its_number_of_compilations():
    measure, asked = _memory(100, 3, 1_000)
    assert largest_share(measure, 8, 1_000, most=1).share == 8
    assert asked == [8]


def test_the_search_says_when_nothing_fits():
    measure, _ = _memory(2_000, 3, 1_000)
    found = largest_share(measure, 4, 1_000, most=8)
    assert found.share is None and found.too_large == 1


def test_shares_are_multiples_of_the_accumulation():
    measure, asked = _memory(100, 3, 1_000)
    found = largest_share(measure, 12, 1_000, most=8, step=12)
    assert found.share == 288 and all(share % 12 == 0 for share in asked)
    assert rounded(300, 12) == 288
