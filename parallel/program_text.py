"""What the instructions of a program that XLA compiled cost, by what they belong to, and what crosses
devices, counted in its text.

The instructions of the entry computation run one after the other. Most are fusions, which call a computation
of their own; those of a loop run as often as it goes round, once where XLA does not know how often. For each:

- FLOPs: two for each multiply-add of a product, one for each number that an arithmetic instruction makes or a
  reduction takes in;
- bytes: of all operands and results, whether they lie in the chip's main memory or stay in its own;
- main: those of them in main memory, and what is moved between the two. A program for anything but a TPU
  tells no memories apart;
- cycles: XLA's own estimate, by which it chooses how to tile, of programs for TPUs alone. It is no
  measurement. Collectives have none.

An instruction belongs to the convolutions (dense layers among them) or to attention where it holds a
product, with whatever is fused to it; else to the optimizer, the norms (activations that are fused to them
included), dropout or attention, by the names of the modules from which its operations come; else to the
rest: sums, resampling, concatenation, copies. Moves between the two memories run beside all this: of their
costs `main` alone counts them.
"""

import dataclasses
import math
import re
from typing import NamedTuple

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "f64": 8}
# The first word that the names of an instruction's operations hold decides.
WORDS = {
    "optimizer": "optimizer",
    "norm": "norms",
    "dropout": "dropout",
    "threefry": "dropout",
    "attention": "attention",
    "softmax": "attention",
}
COSTS = ("instructions", "flops", "bytes", "main", "cycles")
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
KINDS = ("convolutions", "norms", "attention", "dropout", "optimizer", "rest")
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast"}
# What puts the slices of an array that were moved one by one side by side again, and costs nothing.
FREE_CALL = "ConcatBitcast"
ARITHMETIC = {
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "negate", "abs", "power", "compare"),
    *("exponential", "log", "rsqrt", "sqrt", "tanh", "logistic", "cosine", "sine", "select"),
    *("and", "or", "xor", "shift-left", "shift-right-logical"),
}
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%([\w.-]+) = (.*?) ([a-z][\w-]*)\(([^)]*)\)(.*)")
_ARRAY = re.compile(r"\b([a-z]+[0-9]*)\[([0-9,]*)\](\{[^}]*\})?")
_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.-]+) \(.*\{$")


class Array(NamedTuple):
    """The type of an array's numbers, its shape, and whether it lies in main memory."""

    kind: str
    shape: tuple[int, ...]
    is_main: bool

    @property
    def bytes(self):
        """Of all its numbers."""
        return BYTES.get(self.kind, 0) * math.prod(self.shape)


class Collective(NamedTuple):
    """What crosses devices at once.

    Attributes:
      kind: one of COLLECTIVES.
      bytes: of its result on each device.
      group: devices that exchange it with each other.
      times: that it runs in a call of the program.
    """

    kind: str
    bytes: int
    group: int
    times: int


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a program.

    Attributes:
      name: of its result.
      opcode: what it does.
      arrays: of its result.
      operands: names of instructions of the same computation.
      more: the rest of the line; of a constant its value.
    """

    name: str
    opcode: str
    arrays: tuple
    operands: tuple
    more: str

    @property
    def bytes(self):
        """Of the result."""
        return sum(array.bytes for array in self.arrays)

    @property
    def main_bytes(self):
        """Of the part of the result that lies in main memory."""
        return sum(array.bytes for array in self.arrays if array.is_main)

    @property
    def numbers(self):
        """How many the result has."""
        return sum(math.prod(array.shape) for array in self.arrays)

    @property
    def is_free(self):
        """Whether it costs nothing, or moves an array between memories beside the others."""
        moves = self.opcode.endswith(("-start", "-done"))
        return self.opcode in FREE or moves or f'custom_call_target="{FREE_CALL}"' in self.more

    @property
    def calls(self):
        """The name of the computation of a fusion, or None."""
        called = re.search(r"calls=%([\w.-]+)", self.more)
        return called and called[1]

    @property
    def runs(self):
        """Names of the computations that a loop, a choice or a call runs; of a choice all."""
        if self.opcode == "while":
            return re.findall(r"body=%([\w.-]+)", self.more)
        if self.opcode == "conditional":
            branches = re.search(r"branch_computations=\{([^}]*)\}", self.more)
            two = re.findall(r"(?:true|false)_computation=%([\w.-]+)", self.more)
            return re.findall(r"%([\w.-]+)", branches[1]) if branches else two
        if self.opcode == "call":
            return re.findall(r"to_apply=%([\w.-]+)", self.more)
        return []

    @property
    def moved(self):
        """Bytes that a move between the two memories takes to main memory or from it."""
        if self.opcode not in ("copy-start", "slice-start", "dynamic-slice-start"):
            return 0
        fast = sum(array.bytes for array in self.arrays if array.shape and not array.is_main)
        return fast or self.bytes

    @property
    def names(self):
        """Where the operation comes from, in small letters: jit(step)/.../groupnorm_0/mul."""
        name = re.search(r'op_name="([^"]*)"', self.more)
        return name[1].lower() if name else ""

    @property
    def cycles(self):
        """That XLA estimates; 0 where it says none."""
        cycles = re.search(r'"estimated_cycles":"(\d+)"', self.more)
        return int(cycles[1]) if cycles else 0


def parse(text):
    """{computation: {instruction: Instruction}}; the entry computation is called ENTRY."""
    computations = {}
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            current = computations.setdefault("ENTRY" if header[1] else header[2], {})
        elif found := _INSTRUCTION.match(line):
            name, result, opcode, operands, more = found.groups()
            arrays = tuple(
                Array(kind, tuple(int(n) for n in shape.split(",") if n), "S(" not in layout)
                for kind, shape, layout in _ARRAY.findall(result)
            )
            more = operands if opcode == "constant" else more
            operands = tuple(re.findall(r"%([\w.-]+)", operands))
            current[name] = Instruction(name, opcode, arrays, operands, more)
    return computations


def _executed(computations, name="ENTRY", times=1):
    """(Instruction, its computation, how often) of all that runs by itself, loops taken apart."""
    for instruction in computations[name].values():
        for called in instruction.runs:
            yield from _executed(computations, called, times * _rounds(computations, instruction))
        if not instruction.runs:
            yield instruction, computations[name], times


def _rounds(computations, instruction):
    """How often a loop goes round: as XLA says, or as long as it counts from 0 to a constant; else 1."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', instruction.more):
        return int(known[1])
    condition = re.search(r"condition=%([\w.-]+)", instruction.more)
    if condition:
        *_, last = computations[condition[1]].values()
        ends = [computations[condition[1]].get(name) for name in last.operands]
        if last.opcode == "compare" and "direction=LT" in last.more and ends[1].opcode == "constant":
            return int(ends[1].more)
    return 1


def _parts(computations, instruction):
    """[(Instruction, its computation)] of what a fusion holds, fusions within it taken apart."""
    for part in computations.get(instruction.calls, {}).values():
        if part.calls:
            yield from _parts(computations, part)
        else:
            yield part, computations[instruction.calls]


def _multiply_adds(product, computation):
    """Of a convolution, as which a TPU's program writes all products; zeros that only pad are counted."""
    kernel = computation[product.operands[1]].arrays[0].shape
    labels = re.search(r"dim_labels=\w+_(\w+)->", product.more)[1]
    # Between the numbers of a dilated input lie zeros that are skipped.
    dilation = re.search(r"lhs_dilate=([\dx]+)", product.more)
    skipped = math.prod(map(int, dilation[1].split("x"))) if dilation else 1
    return product.numbers * math.prod(kernel) // kernel[labels.index("o")] // skipped


def flops(instruction, computation):
    """Of one instruction that is no fusion."""
    if instruction.opcode == "convolution":
        return 2 * _multiply_adds(instruction, computation)
    if instruction.opcode == "dot":
        shape = computation[instruction.operands[0]].arrays[0].shape
        summed = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.more)[1]
        return 2 * instruction.numbers * math.prod(shape[int(d)] for d in summed.split(",") if d)
    if instruction.opcode == "reduce":
        return computation[instruction.operands[0]].numbers
    return instruction.numbers if instruction.opcode in ARITHMETIC else 0


def _kind(parts):
    """Which of KINDS a list of instructions that run as one belongs to."""
    products = [part for part in parts if part.opcode in ("convolution", "dot")]
    if products:
        return "attention" if any("attention" in part.names for part in products) else "convolutions"
    names = " ".join(part.names for part in parts)
    return next((kind for word, kind in WORDS.items() if word in names), "rest")


def costs(text):
    """{kind: {name of COSTS: number}} of a compiled program, for each of KINDS."""
    computations = parse(text)
    totals = {kind: dict.fromkeys(COSTS, 0) for kind in KINDS}
    for instruction, home, times in _executed(computations):
        totals["rest"]["main"] += times * instruction.moved
        if instruction.is_free:
            continue
        parts = [(instruction, home), *_parts(computations, instruction)]
        total = totals[_kind([part for part, _ in parts])]
        arrays = [instruction, *(home[name] for name in instruction.operands if name in home)]
        total["instructions"] += times
        total["flops"] += times * sum(flops(part, computation) for part, computation in parts)
        total["bytes"] += times * sum(array.bytes for array in arrays)
        total["main"] += times * sum(array.main_bytes for array in arrays)
        total["cycles"] += times * instruction.cycles
    return totals


def belongings(text):
    """{instruction: (its kind, one of KINDS, the name of the operation it comes from)} of all that runs."""
    computations, found = parse(text), {}
    for instruction, home, _ in _executed(computations):
        if not instruction.is_free:
            parts = [part for part, _ in [(instruction, home), *_parts(computations, instruction)]]
            place = next((part.names for part in parts if part.names), "")
            found[instruction.name] = _kind(parts), place
    return found


def collectives(text, devices):
    """The Collectives of a compiled program.

        >>> line = "ENTRY %main (x: f32[8]) -> f32[8] {\\n  %x = f32[8]{0} parameter(0)\\n"
        >>> line += "  ROOT %sum = f32[8]{0} all-reduce(%x), replica_groups={{0,1},{2,3}}, to_apply=%add\\n}"
        >>> collectives(line, 4)
        [Collective(kind='all-reduce', bytes=32, group=2, times=1)]

    Args:
      devices: of the program, which are one group where it names none.
    """
    computations, found = parse(text), []
    for instruction, home, times in _executed(computations):
        for part, computation in [(instruction, home), *_parts(computations, instruction)]:
            kind = part.opcode.removesuffix("-start")
            if kind not in COLLECTIVES:
                continue
            group = _group(part.more, devices)
            # A TPU's program names what it exchanges beside its work in each fusion from start to end.
            goes_on = "chain_id=" in part.more and not instruction.name.startswith("async-collective-start")
            if group == 1 or goes_on:
                continue
            size = part.bytes
            if part.opcode in ("all-gather-start", "collective-permute-start"):
                # Their results hold the operands, too.
                size -= sum(computation[name].bytes for name in part.operands if name in computation)
            found.append(Collective(kind, size, group, times))
    return found


def _group(more, devices):
    """How many devices exchange what a collective says in the rest of its line."""
    if grid := re.search(r"replica_groups=\[\d+,(\d+)\]", more):
        return int(grid[1])
    first = re.search(r"replica_groups=\{\{([\d,]+)\}", more)
    return len(first[1].split(",")) if first else devices
