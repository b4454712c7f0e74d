"""What the instructions of a program that XLA compiled for a TPU cost, by what they belong to, from its text.

The instructions of the entry computation run one after the other. Most are fusions, which call a computation
of their own. For each:

- FLOPs: two for each multiply-add of a product, one for each number that an arithmetic instruction makes or a
  reduction takes in;
- bytes: of all operands and results, whether they lie in the chip's main memory or stay in its own;
- cycles: XLA's own estimate, by which it chooses how to tile. It is no measurement.

An instruction belongs to the convolutions (dense layers among them) or to attention where it holds a
product, with whatever is fused to it; else to the optimizer, the norms (activations that are fused to them
included), dropout or attention, by the names of the modules from which its operations come; else to the
rest: sums, resampling, concatenation, copies. Moves between the two memories run beside all this, and are
left out.
"""

import dataclasses
import math
import re

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
_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.-]+) \(.*\{$")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a program.

    Attributes:
      opcode: what it does.
      arrays: [(type of its numbers, shape), ...], its result.
      operands: names of instructions of the same computation.
      more: the rest of the line.
    """

    opcode: str
    arrays: tuple
    operands: tuple
    more: str

    @property
    def bytes(self):
        """Of the result."""
        return sum(BYTES.get(kind, 0) * math.prod(shape) for kind, shape in self.arrays)

    @property
    def numbers(self):
        """How many the result has."""
        return sum(math.prod(shape) for _, shape in self.arrays)

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
                (kind, tuple(int(n) for n in shape.split(",") if n))
                for kind, shape in re.findall(r"\b([a-z]+[0-9]*)\[([0-9,]*)\]", result)
            )
            operands = tuple(re.findall(r"%([\w.-]+)", operands))
            current[name] = Instruction(opcode, arrays, operands, more)
    return computations


def _parts(computations, instruction):
    """[(Instruction, its computation)] of what a fusion holds, fusions within it taken apart."""
    for part in computations.get(instruction.calls, {}).values():
        if part.calls:
            yield from _parts(computations, part)
        else:
            yield part, computations[instruction.calls]


def _multiply_adds(product, computation):
    """Of a convolution, as which a TPU's program writes all products; zeros that only pad are counted."""
    (_, kernel), *_ = computation[product.operands[1]].arrays
    labels = re.search(r"dim_labels=\w+_(\w+)->", product.more)[1]
    # Between the numbers of a dilated input lie zeros that are skipped.
    dilation = re.search(r"lhs_dilate=([\dx]+)", product.more)
    skipped = math.prod(map(int, dilation[1].split("x"))) if dilation else 1
    return product.numbers * math.prod(kernel) // kernel[labels.index("o")] // skipped


def flops(instruction, computation):
    """Of one instruction that is no fusion."""
    if instruction.opcode == "convolution":
        return 2 * _multiply_adds(instruction, computation)
    if instruction.opcode == "reduce":
        return computation[instruction.operands[0]].numbers
    return instruction.numbers if instruction.opcode in ARITHMETIC else 0


def _kind(parts):
    """Which of KINDS a list of instructions that run as one belongs to."""
    products = [part for part in parts if part.opcode == "convolution"]
    if products:
        return "attention" if any("attention" in part.names for part in products) else "convolutions"
    names = " ".join(part.names for part in parts)
    return next((kind for word, kind in WORDS.items() if word in names), "rest")


def costs(text):
    """{kind: {"instructions", "flops", "bytes", "cycles"}} of a compiled program, for each of KINDS."""
    computations = parse(text)
    entry = computations["ENTRY"]
    totals = {kind: dict.fromkeys(("instructions", "flops", "bytes", "cycles"), 0) for kind in KINDS}
    for instruction in entry.values():
        if instruction.is_free:
            continue
        parts = [(instruction, entry), *_parts(computations, instruction)]
        total = totals[_kind([part for part, _ in parts])]
        total["instructions"] += 1
        total["flops"] += sum(flops(part, computation) for part, computation in parts)
        total["bytes"] += instruction.bytes
        total["bytes"] += sum(entry[name].bytes for name in instruction.operands if name in entry)
        total["cycles"] += instruction.cycles
    return totals
