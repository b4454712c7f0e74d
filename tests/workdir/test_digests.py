"""A digest sees every change of one number, and is the same however an array is cut."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from workdir.digests import digest, digests, sum_of_piece

DTYPES = ["float32", "bfloat16", "float16", "float64", "int8", "uint32", "bool", "complex64"]


def _array(dtype, shape=(3, 4, 5)):
    x = np.random.default_rng(0).standard_normal(shape) * 100
    return (x > 0 if dtype == "bool" else x).astype(jax.numpy.dtype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_of_every_number_is_seen(dtype):
    array = _array(dtype)
    before, found = digest(array), set()
    raw = array.view(np.uint8).reshape(-1)
    bits = [0] if dtype == "bool" else range(8)
    for byte in range(len(raw)):
        for bit in bits:
            raw[byte] ^= 1 << bit
            found.add(digest(array))
            raw[byte] ^= 1 << bit
    assert digest(array) == before and before not in found
    assert len(found) == len(raw) * len(bits)


def test_signs_that_change_in_pairs_do_not_cancel():
    # A sum modulo 2^32 would not see them.
    array = np.random.default_rng(0).standard_normal((8, 16), dtype=np.float32)
    flat, found = array.reshape(-1), {digest(array)}
    for other in range(1, 128):
        flat[[0, other]] *= -1
        found.add(digest(array))
        flat[[0, other]] *= -1
    assert len(found) == 128


def test_order_shape_and_type_count():
    array = np.arange(6, dtype=np.int32)
    others = [array[::-1], array.reshape(2, 3), array.reshape(3, 2), array.view(np.float32)]
    assert len({digest(x) for x in (array, *others)}) == 5
    assert digest(np.float32(-0.0)) != digest(np.float32(0.0))
    assert digest(array) == digest(np.asfortranarray(array)) == digest(np.arange(12, dtype=np.int32)[:6])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_the_sum_is_that_of_any_pieces(dtype):
    array = _array(dtype, (6, 4, 5))
    rng, total = np.random.default_rng(1), 0
    rows, columns = sorted(rng.choice(range(1, 6), 2, False)), sorted(rng.choice(range(1, 5), 2, False))
    for r in np.split(np.arange(6), rows):
        for c in np.split(np.arange(5), columns):
            total += sum_of_piece(array[r[0] : r[-1] + 1, :, c[0] : c[-1] + 1], (int(r[0]), 0, int(c[0])))
    assert f"{total % 2**64:016x}" == digest(array).split(" ")[-1]


@pytest.mark.parametrize("spec", [(None, None), ("a", None), (None, "b"), ("b", "a"), (("a", "b"), None)])
def test_a_sharded_array_has_the_digest_of_the_whole(spec):
    array = _array("float32", (8, 16))
    mesh = Mesh(np.array(jax.devices()).reshape(2, 4), ("a", "b"))
    assert digest(jax.device_put(array, NamedSharding(mesh, PartitionSpec(*spec)))) == digest(array)


def test_a_path_does_not_tell_how_arrays_are_nested():
    leaf = np.ones(2, np.float32)
    assert digests({"a": [leaf, leaf]}) == digests({"a": {"0": leaf, "1": leaf}})
    assert digests((leaf,)) != digests((leaf, leaf))
