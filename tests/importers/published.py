"""Recorded networks of the authors' code: names, shapes, and outputs for weights and inputs by rules.

golden/<family>.npz has for each case `<case>/names`, text with a name and a shape in each line, in the order
of the authors' own state, and `<case>/output`, float32. The rule of the weights, on their names: z is drawn
standard normal by numpy.random.default_rng, seeded by the zlib.crc32 of the name; with more than one axis it
is divided by the root of (its size over its longest side); a vector or number called weight, scale or gamma
is 1 + z / 5; all else is z / 5. The inputs: default_rng(0) draws images [2, side, side, channels], then two
rows of 9 augmentation labels.
"""

import re
import zlib
from pathlib import Path

import jax
import numpy as np

from importers import mapping

GOLDEN = Path(__file__).parent / "golden"


def ruled(name, shape):
    """An array of a checkpoint, by the rule."""
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) > 1:
        z /= np.sqrt(z.size / max(shape))
    else:
        z = z / 5 + (re.split(r"[./]", name)[-1] in ("weight", "scale", "gamma"))
    return z.astype(np.float32)


def checkpoint(family, case):
    """{name: array} of a recorded network, by the rule."""
    with np.load(GOLDEN / f"{family}.npz") as golden:
        lines = [line.split(" ") for line in bytes(golden[f"{case}/names"]).decode().splitlines()]
    shapes = {name: tuple(int(n) for n in shape.split(",") if n) for name, shape in lines}
    return {name: ruled(name, shape) for name, shape in shapes.items()}


def inputs(channels=2, side=8):
    """Images and augmentation labels."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, side, side, channels)).astype(np.float32), rng.standard_normal((2, 9))


def converted(arrays, template, rows, ignored=()):
    """Our parameters, after a conversion that left nothing over and that the export undoes bit for bit."""
    found = mapping.convert(arrays, template, rows, ignored)
    assert found.complete, found.table()
    again = mapping.export(found.params, rows)
    assert set(again) == set(arrays) - set(ignored)
    for name, array in again.items():
        if not any(row.layout is mapping.RADIANS and name in row.theirs for row in rows):
            np.testing.assert_array_equal(array, arrays[name], err_msg=name)
    jax.tree.map(lambda leaf, like: leaf.shape == like.shape or 1 / 0, found.params, template)
    return found.params


def assert_output(family, case, network, params, noise, *arguments, channels=2, side=8, **more):
    """The network's output is the recorded one, to 1e-4 of its root mean square."""
    with np.load(GOLDEN / f"{family}.npz") as golden:
        expected = golden[f"{case}/output"]
    x, _ = inputs(channels, side)
    noise = np.array(noise, np.float32)
    ours = jax.jit(network.apply)({"params": params}, x, noise, *arguments, **more)
    assert np.abs(ours - expected).max() / np.sqrt(np.mean(np.square(expected))) < 1e-4
