"""Checkpoints name and lay out the same numbers otherwise: tables of names, and conversion by them.

A code base's table has a row for each group of arrays,

    Row(ours=("middle_block_0/conv_0/kernel",), theirs=("middle_block.0.in_layers.2.weight",), CONVOLUTION)

and says: take their arrays, lay each out as ours, join them along the last axis, and split the result evenly
among ours. Nearly all rows have one array on each side. Three arrays of queries, keys and values are one of
ours, and one table of NCSN's norms is three of ours. Read from right to left the same rows export.

Nothing is guessed. What a table demands and a checkpoint lacks is missing, what no row takes is unused, what
has another shape is misshapen, and what holds other numbers than a network's is unfit; all of these are
reported by name, together.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np

from importers.refusal import shown

# Of each list in a table: a file of strangers may have any number of names.
MOST_LINES = 20


class Layout(NamedTuple):
    """How an array is laid out in a checkpoint, and how to turn it into ours and back.

    Attributes:
      name: the axes, theirs to ours.
      ours, theirs: functions of arrays, inverse to each other.
    """

    name: str
    ours: Callable
    theirs: Callable


SAME = Layout("as it is", lambda a: a, lambda a: a)
# PyTorch's convolutions have outputs, inputs, rows, columns; Flax's rows, columns, inputs, outputs.
CONVOLUTION = Layout("OIHW to HWIO", lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
DENSE = Layout("OI to IO", lambda a: a.T, lambda a: a.T)
# Convolutions of one pixel, which are dense layers here.
POINT = Layout("OI11 to IO", lambda a: a[:, :, 0, 0].T, lambda a: a.T[:, :, None, None])
POINT_1D = Layout("OI1 to IO", lambda a: a[:, :, 0].T, lambda a: a.T[:, :, None])
FLAX_POINT = Layout("11IO to IO", lambda a: a[0, 0], lambda a: a[None, None])
# Angles in radians, which are whole turns here.
RADIANS = Layout("radians to turns", lambda a: a / (2 * np.pi), lambda a: 2 * np.pi * a)


class Row(NamedTuple):
    """Some arrays of a checkpoint that are some of our parameters.

    Attributes:
      ours: paths in our tree, with "/" between the names.
      theirs: names in the checkpoint.
      layout: of each of theirs.
      zero: theirs are no parameters of ours: they must be zero, and are exported as zeros. The shape is that
        of the parameters `ours`.
    """

    ours: tuple
    theirs: tuple
    layout: Layout
    zero: bool = False


class Converted(NamedTuple):
    """What came of a conversion.

    Attributes:
      params: our tree, NumPy arrays of the template's dtypes; None where something is missing, misshapen or
        unfit.
      missing: (name in the checkpoint, shape that is expected) of what is not there.
      unused: (name, shape) of what no row takes.
      misshapen: (name, shape that is there, shape that is expected).
      unfit: (name, what is wrong with its numbers).
    """

    params: dict | None
    missing: list
    unused: list
    misshapen: list
    unfit: list

    @property
    def complete(self):
        """Whether every array found its place, and every place its array."""
        return not (self.missing or self.unused or self.misshapen or self.unfit)

    def table(self):
        """The lists as lines of text, one for each name, of which each list tells the first MOST_LINES."""
        lists = {
            "missing": self.missing,
            "misshapen": [
                (name, f"{shown(str(there))}, expected {shape}") for name, there, shape in self.misshapen
            ],
            "unfit": self.unfit,
            "unused": [(name, shown(str(shape))) for name, shape in self.unused],
        }
        lines = []
        for kind, entries in lists.items():
            lines += [f"  {kind:9}  {shown(name)}  {what}" for name, what in entries[:MOST_LINES]]
            if len(entries) > MOST_LINES:
                lines.append(f"  {kind:9}  and {len(entries) - MOST_LINES} more")
        return "\n".join(lines)


class Table:
    """Rows as they are written down, for those of our parameters that a template has.

    Attributes:
      rows: so far.
    """

    def __init__(self, template):
        self._paths = flatten(template)
        self.rows = []

    def has(self, ours):
        """Whether our tree has this parameter, or parameters under this name."""
        return ours in self._paths or any(path.startswith(f"{ours}/") for path in self._paths)

    def add(self, ours, theirs, layout=SAME):
        """One array, or the paths or the names of several (see the top of this file), if ours are there."""
        ours, theirs = ((names,) if isinstance(names, str) else tuple(names) for names in (ours, theirs))
        if self.has(ours[0]):
            self.rows.append(Row(ours, theirs, layout))

    def layer(self, ours, theirs, layout, names=("weight", "bias")):
        """A convolution or dense layer: its kernel, and its bias if it has one.

        Args:
          ours: path; theirs: name, or the names of layers whose outputs are joined.
          layout: of the kernel.
          names: of kernel and bias in the checkpoint, with what stands before them but for a dot.
        """
        theirs = (theirs,) if isinstance(theirs, str) else theirs
        kernel, bias = (name if name[0] in "./" else f".{name}" for name in names)
        self.add(f"{ours}/kernel", [f"{name}{kernel}" for name in theirs], layout)
        self.add(f"{ours}/bias", [f"{name}{bias}" for name in theirs])

    def norm(self, ours, theirs):
        """A group normalization of PyTorch."""
        self.add(f"{ours}/scale", f"{theirs}.weight")
        self.add(f"{ours}/bias", f"{theirs}.bias")

    def finished(self):
        """The rows.

        Raises:
          ValueError: a parameter of the template is in no row: the architecture is not one of this code base.
        """
        left = set(self._paths) - {path for row in self.rows for path in row.ours if not row.zero}
        if left:
            raise ValueError(f"no name in these checkpoints for {', '.join(sorted(left))}")
        return self.rows


def flatten(tree):
    """{path: leaf} of a tree of dictionaries."""
    return flax.traverse_util.flatten_dict(tree, sep="/")


def template(network, image_side, image_channels):
    """The tree of shapes and dtypes of a network's parameters, as jax.ShapeDtypeStruct.

    Args:
      network: see models.network.Network, or models.adm_classifier.ADMClassifier.
      image_side, image_channels: of the images that it reads.
    """
    x = jax.ShapeDtypeStruct((1, image_side, image_side, image_channels), jnp.float32)
    noise = jax.ShapeDtypeStruct((1,), jnp.float32)
    # A key by its shape alone, whatever generator the environment prefers.
    with jax.default_prng_impl("threefry2x32"):
        return jax.eval_shape(network.init, jax.ShapeDtypeStruct((2,), jnp.uint32), x, noise)["params"]


def without_prefix(arrays, prefix):
    """The arrays with `prefix` taken off every name, if every name has it; otherwise as they are."""
    if arrays and all(name.startswith(prefix) for name in arrays):
        return {name.removeprefix(prefix): array for name, array in arrays.items()}
    return dict(arrays)


def part(checkpoint, *keys):
    """What a checkpoint has under these keys, one below the other.

    Raises:
      ValueError: a key is not there.
    """
    for number, key in enumerate(keys, 1):
        if not isinstance(checkpoint, dict) or key not in checkpoint:
            raise ValueError(f"no {'.'.join(keys[:number])} in this checkpoint")
        checkpoint = checkpoint[key]
    return checkpoint


def convert(arrays, template, rows, ignored=()):
    """Our parameters from a checkpoint's arrays.

    Args:
      arrays: {name: NumPy array}.
      template: tree of shapes and dtypes; see the function of that name.
      rows: of a code base, for this template.
      ignored: names that may be in the checkpoint and are no weights.

    Returns:
      Converted.
    """
    wanted, found, missing, misshapen, unfit = flatten(template), {}, [], [], []
    for row in rows:
        shapes = {name: part.shape for name, part in _as_theirs(_hollow(wanted, row), row).items()}
        missing += [(name, shape) for name, shape in shapes.items() if name not in arrays]
        there = {name: arrays[name] for name in shapes if name in arrays}
        wrong = {name: np.shape(array) for name, array in there.items() if np.shape(array) != shapes[name]}
        misshapen += [(name, shape, shapes[name]) for name, shape in wrong.items()]
        faults = {name: _fault(there[name], row, wanted) for name in there.keys() - wrong.keys()}
        unfit += [(name, faults[name]) for name in shapes if faults.get(name)]
        if not (missing or misshapen or unfit or row.zero):
            found |= _as_ours(arrays, row, wanted)
    taken = {name for row in rows for name in row.theirs} | set(ignored)
    unused = [(name, np.shape(array)) for name, array in arrays.items() if name not in taken]
    params = None if missing or misshapen or unfit else flax.traverse_util.unflatten_dict(found, sep="/")
    return Converted(params, missing, unused, misshapen, unfit)


def export(params, rows):
    """{name: NumPy array} of a code base's checkpoint, from our parameters; the inverse of `convert`."""
    flat = {path: np.asarray(leaf) for path, leaf in flatten(params).items()}
    arrays = {}
    for row in rows:
        ours = [np.zeros_like(flat[path]) if row.zero else flat[path] for path in row.ours]
        for name, array in _as_theirs(ours, row).items():
            arrays[name] = np.ascontiguousarray(array).reshape(array.shape).astype(ours[0].dtype, copy=False)
    return arrays


def _hollow(wanted, row):
    """Arrays of the shapes of our parameters in a row that take no memory."""
    return [np.broadcast_to(np.float32(0), wanted[path].shape) for path in row.ours]


def _as_theirs(ours, row):
    """{name: array} of a row, from our arrays."""
    joined = ours[0] if len(ours) == 1 else np.concatenate(ours, axis=-1)
    parts = [joined] if len(row.theirs) == 1 else np.split(joined, len(row.theirs), axis=-1)
    return {name: row.layout.theirs(part) for name, part in zip(row.theirs, parts, strict=True)}


def _as_ours(arrays, row, wanted):
    """{path: array} of a row, from their arrays."""
    theirs = [row.layout.ours(np.asarray(arrays[name])) for name in row.theirs]
    joined = theirs[0] if len(theirs) == 1 else np.concatenate(theirs, axis=-1)
    parts = [joined] if len(row.ours) == 1 else np.split(joined, len(row.ours), axis=-1)
    # In C's order: a checkpoint would copy others once more.
    return {
        path: np.array(part, wanted[path].dtype, order="C")
        for path, part in zip(row.ours, parts, strict=True)
    }


def _fault(array, row, wanted):
    """What is wrong with the numbers of an array for a row; or None."""
    array, dtype = np.asarray(array), wanted[row.ours[0]].dtype
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return f"{array.dtype}, and must be real numbers"
    if row.zero:
        return "not zero, and no network here has a place for it" if np.any(array) else None
    # Comparisons with NaN, which the least and the largest of an array with one are, do not hold.
    largest = float(jnp.finfo(dtype).max)
    if array.size and not (-largest <= float(array.min()) and float(array.max()) <= largest):
        return f"not finite, or too large for {dtype}"
    return None
