"""Tables of names: nothing is guessed, and what does not fit is named."""

import jax
import numpy as np
import pytest

from importers import mapping
from importers.mapping import CONVOLUTION, DENSE, FLAX_POINT, POINT, POINT_1D, RADIANS, SAME

TEMPLATE = {
    "qkv": {"kernel": np.zeros((2, 6), "f4"), "bias": np.zeros(6, "f4")},
    "norm": {"gamma": np.zeros((3, 2), "f4"), "beta": np.zeros((3, 2), "f4")},
    "conv": {"kernel": np.zeros((3, 3, 2, 4), "f4"), "bias": np.zeros(4, "f4")},
}


def _rows():
    table = mapping.Table(TEMPLATE)
    table.layer("qkv", ("q", "k", "v"), DENSE)
    table.add(("norm/gamma", "norm/beta"), "table")
    table.layer("conv", "c", CONVOLUTION)
    table.layer("absent", "absent", DENSE)
    return table.finished()


def _arrays():
    shapes = {"table": (3, 4), "c.weight": (4, 2, 3, 3), "c.bias": (4,)}
    shapes |= {f"{name}.weight": (2, 2) for name in "qkv"} | {f"{name}.bias": (2,) for name in "qkv"}
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype("f4") for name, shape in shapes.items()}


def test_arrays_are_laid_out_joined_and_split():
    arrays = _arrays()
    found = mapping.convert(arrays, TEMPLATE, _rows())
    assert found.complete and found.table() == ""
    np.testing.assert_array_equal(found.params["qkv"]["kernel"][:, 2:4], arrays["k.weight"].T)
    np.testing.assert_array_equal(found.params["norm"]["beta"], arrays["table"][:, 2:])
    np.testing.assert_array_equal(found.params["conv"]["kernel"][1, 2, 0, 3], arrays["c.weight"][3, 0, 1, 2])
    back = mapping.export(found.params, _rows())
    assert set(back) == set(arrays)
    for name, array in back.items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.flags.c_contiguous


def test_what_does_not_fit_is_named_together():
    arrays = _arrays() | {"extra": np.zeros(5), "sigmas": np.zeros(7), "c.bias": np.zeros(4, "i4")}
    arrays["k.weight"] = np.zeros((2, 3))
    del arrays["table"]
    found = mapping.convert(arrays, TEMPLATE, _rows(), ignored=("sigmas",))
    assert found.params is None and not found.complete
    assert found.missing == [("table", (3, 4))] and found.unused == [("extra", (5,))]
    assert found.misshapen == [("k.weight", (2, 3), (2, 2))]
    assert found.unfit == [("c.bias", "int32, and must be real numbers")]
    assert found.table().splitlines() == [
        "  missing    table  (3, 4)",
        "  misshapen  k.weight  (2, 3), expected (2, 2)",
        "  unfit      c.bias  int32, and must be real numbers",
        "  unused     extra  (5,)",
    ]


def test_a_parameter_without_a_name_is_an_error():
    table = mapping.Table(TEMPLATE)
    table.layer("qkv", ("q", "k", "v"), DENSE)
    with pytest.raises(ValueError, match="conv/bias, conv/kernel, norm/beta, norm/gamma"):
        table.finished()


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (SAME, (2, 3)),
        (CONVOLUTION, (4, 2, 3, 3)),
        (DENSE, (4, 2)),
        (POINT, (4, 2, 1, 1)),
        (POINT_1D, (4, 2, 1)),
        (FLAX_POINT, (1, 1, 2, 4)),
        (RADIANS, (5,)),
    ],
)
def test_layouts_and_their_inverses(layout, shape):
    array = np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_allclose(layout.theirs(layout.ours(array)), array, rtol=1e-15)


def test_a_prefix_comes_off_where_every_name_has_it():
    assert mapping.without_prefix({"a.x": 1, "a.y": 2}, "a.") == {"x": 1, "y": 2}
    assert mapping.without_prefix({"a.x": 1, "y": 2}, "a.") == {"a.x": 1, "y": 2}


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e300, -1e300])
def test_numbers_that_no_network_has_are_named(number):
    template = {"a": jax.ShapeDtypeStruct((2,), np.float32), "b": jax.ShapeDtypeStruct((2,), np.float32)}
    rows = [mapping.Row((name,), (name,), mapping.SAME) for name in template]
    found = mapping.convert({"a": np.ones(2), "b": np.array([0, number])}, template, rows)
    assert not found.complete and found.params is None
    assert found.table() == "  unfit      b  not finite, or too large for float32"


def test_a_table_shows_few_of_many_names_and_none_that_moves_the_cursor():
    arrays = {f"\x1b[2J\n{i}" + 100_000 * "x": np.zeros(0) for i in range(1_000)}
    lines = mapping.convert(arrays, {}, []).table().split("\n")
    assert len(lines) == mapping.MOST_LINES + 1
    assert lines[-1] == f"  unused     and {1_000 - mapping.MOST_LINES} more"
    assert all(line.isprintable() and len(line) < 200 for line in lines)
