"""What chips can do, by their makers' data sheets, and the slices that TPUs are lent in.

TPUs: Google Cloud's pages of the architectures; what a chip sends over its interconnect is the all-reduce
bandwidth of a pod over its chips, which is half of what the pages call bidirectional. GPUs: NVIDIA's data
sheets of the SXM forms, products without sparsity, half of NVLink's bandwidth in both directions.
"""

import dataclasses
import math

GIB = 2**30
# Slices of the chips whose interconnect has two dimensions.
FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
# Of those with three, slices that are smaller than a cube of 4x4x4; larger ones are made of such cubes.
SMALL_SOLIDS = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")


@dataclasses.dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
      device: as JAX names the kind of its devices.
      flops: of products of bfloat16, at most, a second.
      memory: bytes of its main memory.
      bandwidth: bytes a second between chip and main memory.
      interconnect: bytes a second that it sends to its neighbours, over all links together.
      source: where these stand.
      cycle_flops: FLOPs of products in a cycle, by which cycles become seconds; None where XLA estimates
        none.
      most: chips of the largest slice; None for what is no TPU.
    """

    device: str
    flops: float
    memory: float
    bandwidth: float
    interconnect: float
    source: str
    cycle_flops: int | None = None
    most: int | None = None

    def seconds(self, cycles):
        """That so many cycles take at the clock of the largest number of products."""
        return cycles * self.cycle_flops / self.flops


CHIPS = {
    # Two cores of four units of 128 x 128 multiply-adds a cycle.
    "v4": Chip(
        "TPU v4", 275e12, 32 * GIB, 1200e9, 1.1e15 / 4096, "cloud.google.com/tpu/docs/v4", 2**18, 4096
    ),
    # One core of four such units.
    "v5e": Chip(
        "TPU v5 lite", 197e12, 16 * GIB, 819e9, 51.2e12 / 256, "cloud.google.com/tpu/docs/v5e", 2**17, 256
    ),
    "v5p": Chip("TPU v5", 459e12, 95 * GIB, 2765e9, 600e9, "cloud.google.com/tpu/docs/v5p", 2**18, 6144),
    # The page has two units of 256 x 256; XLA's cycles of a product of 8192 x 8192 are those of four.
    "v6e": Chip(
        "TPU v6 lite", 918e12, 32 * GIB, 1638e9, 102.4e12 / 256, "cloud.google.com/tpu/docs/v6e", 2**19, 256
    ),
    "a100": Chip(
        "NVIDIA A100-SXM4-80GB", 312e12, 80e9, 2039e9, 300e9, "nvidia.com, A100 data sheet, SXM 80 GB"
    ),
    "h100": Chip("NVIDIA H100 80GB HBM3", 989e12, 80e9, 3350e9, 450e9, "nvidia.com, H100 data sheet, SXM"),
    "h200": Chip("NVIDIA H200", 989e12, 141e9, 4800e9, 450e9, "nvidia.com, H200 data sheet, SXM"),
}


def of_device(device):
    """The Chip of a JAX device, or None where it is none of CHIPS."""
    # A TPU at hand may call itself by the name of its slices.
    names = {kind: chip for name, chip in CHIPS.items() for kind in (chip.device, f"TPU {name}")}
    return names.get(device.device_kind)


def has_slice(name, shape):
    """Whether a TPU is lent in slices of that shape.

    >>> has_slice("v5e", "4x4"), has_slice("v5e", "3x3"), has_slice("v5p", "4x4x8"), has_slice("v5p", "8x4x4")
    (True, False, True, False)
    """
    if name in ("v5e", "v6e"):
        return shape in FLAT
    sides = [int(side) if side.isdigit() else 0 for side in shape.split("x")]
    cubes = len(sides) == 3 and all(side > 0 and side % 4 == 0 for side in sides) and sides == sorted(sides)
    return shape in SMALL_SOLIDS or (cubes and sides[0] * sides[1] * sides[2] <= CHIPS[name].most)


def has_size(name, chips):
    """Whether a TPU is lent in a slice of so many chips.

    >>> [has_size("v5e", n) for n in (3, 4, 64, 512)], [has_size("v5p", n) for n in (1, 4, 96, 6144)]
    ([False, True, True, False], [False, True, False, True])
    """
    if name in ("v5e", "v6e"):
        return chips in map(_count, FLAT)
    cubes = chips % 64 == 0 and 0 < chips <= CHIPS[name].most
    return chips in map(_count, SMALL_SOLIDS) or cubes


def _count(shape):
    return math.prod(map(int, shape.split("x")))


def sizes(name):
    """How many chips the slices of a TPU have, in words, for messages."""
    if name in ("v5e", "v6e"):
        return ", ".join(str(_count(shape)) for shape in FLAT)
    small = ", ".join(str(_count(shape)) for shape in SMALL_SOLIDS)
    return f"{small}, and multiples of 64 up to {CHIPS[name].most}"


def slices(name):
    """Which slices a TPU has, in words, for messages."""
    if name in ("v5e", "v6e"):
        return ", ".join(FLAT)
    return f"{', '.join(SMALL_SOLIDS)}, and AxBxC with A <= B <= C, all multiples of 4: 4x4x4, 4x4x8"
