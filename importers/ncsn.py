"""NCSN's and NCSNv2's checkpoints (Song & Ermon 2019, 2020), of the authors' own repositories.

A file is a list, the state of the network first, with `module.` before each name; NCSNv2's has the average
last. Stages are `res1`, `res2`, ... from the finest, and RefineNet's blocks `refine1`, ... from the coarsest;
in the network for 256 pixels there are `res31` and `refine31` between. The norms of NCSN hold gamma, alpha
and beta of each noise level in one table.
"""

from importers.mapping import CONVOLUTION, Table
from models.ncsn import NCSN

# The noise levels, in the state of NCSNv2.
IGNORED = ("sigmas",)
# By the number of stages: names of the stages, finest first, and of RefineNet's blocks, coarsest first.
_STAGES = {4: "1 2 3 4", 5: "1 2 3 4 5", 6: "1 2 3 31 4 5"}
_REFINES = {4: "1 2 3 4", 5: "1 2 3 4 5", 6: "1 2 31 3 4 5"}


def rows(network, template):
    """Rows of the names without `module.`.

    Args:
      network: models.ncsn.NCSN or models.ncsnv2.NCSNv2.
      template: of its parameters.

    Raises:
      ValueError: the network has parameters that none of these has.
    """
    table, conditional = Table(template), isinstance(network, NCSN)
    stages = next(count for count in (6, 5, 4) if table.has(f"stage_{count}_block_1"))
    table.layer("input", "begin_conv", CONVOLUTION)
    for stage, name in enumerate(_STAGES[stages].split(), 1):
        for part in (1, 2):
            halves = part == 1 and stage > 1 and not _dilated(stage, stages)
            _block(table, f"stage_{stage}_block_{part}", f"res{name}.{part - 1}", halves, conditional)
    for below, name in enumerate(_REFINES[stages].split()):
        _refine(table, f"refine_{stages - below}", f"refine{name}", conditional)
    _norm(table, "norm", "normalizer", conditional)
    table.layer("output", "end_conv", CONVOLUTION)
    return table.finished()


def _dilated(stage, stages):
    """The last two stages dilate; those between the first and them halve the sides."""
    return stage > stages - 2


def _norm(table, ours, theirs, conditional):
    parts = ("gamma", "alpha", "beta")
    if conditional:
        table.add([f"{ours}/{part}" for part in parts], f"{theirs}.embed.weight")
    else:
        for part in parts:
            table.add(f"{ours}/{part}", f"{theirs}.{part}")


def _block(table, ours, theirs, halves, conditional):
    # Where the sides are halved the second convolution and the shortcut are part of a pooling.
    pooled = ".conv" if halves else ""
    _norm(table, f"{ours}/norm_1", f"{theirs}.normalize1", conditional)
    table.layer(f"{ours}/conv_1", f"{theirs}.conv1", CONVOLUTION)
    _norm(table, f"{ours}/norm_2", f"{theirs}.normalize2", conditional)
    table.layer(f"{ours}/conv_2", f"{theirs}.conv2{pooled}", CONVOLUTION)
    table.layer(f"{ours}/shortcut", f"{theirs}.shortcut{pooled}", CONVOLUTION)


def _refine(table, ours, theirs, conditional):
    for number in (1, 2):
        _units(table, f"{ours}/adapt_{number}", f"{theirs}.adapt_convs.{number - 1}", 2, conditional)
        for part, name in (("fusion", "msf"), ("pooling", "crp")):
            _norm(table, f"{ours}/{part}/norm_{number}", f"{theirs}.{name}.norms.{number - 1}", conditional)
            table.layer(f"{ours}/{part}/conv_{number}", f"{theirs}.{name}.convs.{number - 1}", CONVOLUTION)
    _units(table, f"{ours}/output", f"{theirs}.output_convs", 3, conditional)


def _units(table, ours, theirs, units, conditional):
    for step in (f"{unit}_{part}" for unit in range(1, units + 1) for part in (1, 2)):
        _norm(table, f"{ours}/norm_{step}", f"{theirs}.{step}_norm", conditional)
        table.layer(f"{ours}/conv_{step}", f"{theirs}.{step}_conv", CONVOLUTION)
