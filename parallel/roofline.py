"""What a compiled program costs a chip at best, and many chips together; arithmetic alone.

A program of F FLOPs and B bytes of main memory takes at least max(F / peak, B / bandwidth) seconds (the
roofline; Williams et al. 2009), so that at most F / peak over that of the chip is used (model FLOPs
utilization, MFU; Chowdhery et al. 2022). Collectives take the bytes that each chip has to send over the
bandwidth of its links.
"""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Roofline:
    """The least seconds of a program by each limit of a chip.

    Attributes:
      arithmetic: FLOPs at the chip's peak.
      memory: bytes at the bandwidth of its main memory.
    """

    arithmetic: float
    memory: float

    @property
    def seconds(self):
        """The larger one."""
        return max(self.arithmetic, self.memory)

    @property
    def limit(self):
        """Which one that is."""
        return "arithmetic" if self.arithmetic >= self.memory else "memory"

    def utilization(self, seconds=None):
        """The share of the peak that is used in so many seconds; by default in the least ones."""
        return self.arithmetic / (seconds or self.seconds)


def roofline(flops, size, chip):
    """The Roofline of a program on a chip.

    >>> from parallel.chips import CHIPS
    >>> found = roofline(197e9, 819e6, CHIPS["v5e"])
    >>> found.arithmetic, found.memory, found.limit, found.utilization(0.004)
    (0.001, 0.001, 'arithmetic', 0.25)

    Args:
      flops: of the program; size: bytes that it moves between chip and main memory.
    """
    return Roofline(flops / chip.flops, size / chip.bandwidth)


# Of each byte of the result, how many each of g devices sends, by algorithms that send the least (a ring's).
_SENT = {
    "all-reduce": lambda g: 2 * (g - 1) / g,
    "all-gather": lambda g: (g - 1) / g,
    "reduce-scatter": lambda g: g - 1,
    "all-to-all": lambda g: (g - 1) / g,
    "collective-permute": lambda g: 1.0,
}


def sent(collective):
    """Bytes that each device sends in all rounds of a program_text.Collective.

    >>> from parallel.program_text import Collective
    >>> sent(Collective("all-reduce", 400, group=4, times=1)), sent(Collective("all-gather", 400, 4, 2))
    (600.0, 600.0)
    """
    return collective.times * collective.bytes * _SENT[collective.kind](collective.group)


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A step on so many chips, each with the same share of the batch.

    Attributes:
      chips: how many.
      compute, exchange: seconds of the program's own work, and of its collectives after it.
      images: of a step.
      efficiency: images a second and chip over those of one chip, which exchanges nothing.
      against_first: the same over those of the first number of chips.
    """

    chips: int
    compute: float
    exchange: float
    images: int
    efficiency: float
    against_first: float

    @property
    def seconds(self):
        """Of a step."""
        return self.compute + self.exchange

    @property
    def chip_seconds(self):
        """Of an image."""
        return self.chips * self.seconds / self.images


def weak_scaling(compute, collectives, share, numbers, compiled_for, split_over, chip):
    """A step on several numbers of chips, each with the same share of the batch; nothing overlaps.

    The collectives are those of the program compiled for one number of chips. Groups over which parameters
    are split stay as they are; all others grow with the chips.

    Args:
      compute: seconds of one chip's program without its collectives.
      collectives: program_text.Collectives.
      share: examples a chip and step.
      numbers: of chips, in the order of the result.
      compiled_for: chips of the program.
      split_over: chips over which parameters are split, training.fsdp.
      chip: chips.Chip.

    Returns:
      [Scaled].
    """

    def exchange(chips):
        total = 0.0
        for collective in collectives:
            splits = split_over > 1 and collective.group == split_over
            group = collective.group if splits else max(1, collective.group * chips // compiled_for)
            total += sent(collective._replace(group=group))
        return total / chip.interconnect

    seconds = [compute + exchange(chips) for chips in numbers]
    return [
        Scaled(chips, compute, total - compute, share * chips, compute / total, seconds[0] / total)
        for chips, total in zip(numbers, seconds, strict=True)
    ]


def rounded(share, step=1):
    """The largest multiple of `step` up to `share` that has at most four binary digits beside it.

    >>> rounded(7), rounded(100), rounded(45, 3)
    (7, 96, 45)
    """
    parts = max(share // step, 0)
    unit = 2 ** max(parts.bit_length() - 4, 0)
    return parts // unit * unit * step


@dataclasses.dataclass(frozen=True)
class Largest:
    """What a search found.

    Attributes:
      share: the largest share of the batch that fits on a chip, or None.
      too_large: the smallest that does not, or None.
      tried: {share: bytes of memory, or None where it does not fit and nobody knows by how much}.
    """

    share: int | None
    too_large: int | None
    tried: dict[int, float | None]


def largest_share(measure, first, limit, most, step=1):
    """The largest share of a batch that fits into memory, by a few compilations.

    Memory is taken to grow linearly with the share. The search goes to where the line meets the limit, each
    time through the two shares that are nearest to it.

    Args:
      measure: share -> (bytes of memory, whether it fits); bytes None where that is not known.
      first: the share to begin with; limit: bytes of memory; most: calls of `measure`.
      step: every share is a multiple of it.

    Returns:
      Largest, in which shares are rounded as `rounded` does.
    """
    tried, fits = {}, {}
    share = first
    while share and share not in tried and len(tried) < most:
        tried[share], fits[share] = measure(share)
        share = _next(tried, fits, limit, step)
    low = max((share for share in tried if fits[share]), default=None)
    return Largest(low, min((share for share in tried if not fits[share]), default=None), tried)


def _next(tried, fits, limit, step):
    """The share to be tried after those, or 0."""
    low = max((share for share in tried if fits[share]), default=0)
    high = min((share for share in tried if not fits[share]), default=math.inf)
    known = sorted((abs(size - limit), share, size) for share, size in tried.items() if size is not None)
    if len(known) < 2:
        # A single one tells no slope. Twice as many show how memory grows; half as many may fit.
        if not low:
            return rounded(max(high // 2, step), step)
        guess = rounded(int(min(low * 2, (low + high) / 2)), step)
        return guess if guess > low else 0
    (_, a, of_a), (_, b, of_b) = known[:2]
    slope = (of_b - of_a) / (b - a)
    guess = high - 1 if slope <= 0 else a + (limit - of_a) / slope
    if guess == math.inf:
        return 0
    guess = rounded(int(max(min(guess, high - 1), step)), step)
    return guess if guess > low else 0
