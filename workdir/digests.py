"""Digests of arrays, of all of one or of its pieces, whichever devices and processes these lie on.

An array is taken as whole numbers x of at most 32 bits, those of 64 bits as two along one more axis. With odd
numbers w_a(i) of 64 bits, one for each place i along each axis a, its digest is

    sum over all places (i, j, ...) of  x[i, j, ...] w_0(i) w_1(j) ...   modulo 2^64,

a multilinear hash (Lemire & Kaser 2014, "Strongly universal string hashing is fast") whose coefficients are
products along the axes. The sum may be taken in any order: those of the pieces of a sharded array add up to
that of the whole, however it is cut. A change of one number always shows, for odd numbers have inverses; a
change of several goes unseen by chance alone.
"""

import jax
import numpy as np

from parallel.processes import summed


def _numbers(axis, start, length):
    """[length] odd uint64, the numbers w_a of the places start, start + 1, ...: the generator SplitMix64."""
    places = np.arange(start + 1, start + 1 + length, dtype=np.uint64)
    x = places * np.uint64(0x9E3779B97F4A7C15) + np.uint64(axis << 40)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) | np.uint64(1)


def _as_words(piece):
    """The bits of an array as uint8, uint16 or uint32; of 64 bits and more as several along a last axis."""
    piece = np.asarray(piece, order="C")
    size = piece.dtype.itemsize
    if size <= 4:
        return piece.view(f"u{size}")
    return piece.reshape(*piece.shape, 1).view("u4")


def sum_of_piece(piece, starts=None):
    """What a piece adds to the digest of its array, a whole number below 2^64.

        >>> whole = np.arange(12.0, dtype=np.float32).reshape(3, 4)
        >>> parts = sum_of_piece(whole[:, :1]) + sum_of_piece(whole[:, 1:], (0, 1))
        >>> parts % 2**64 == sum_of_piece(whole)
        True

    Args:
      piece: array of numbers or truth values; of a jax.Array the data of a shard.
      starts: for each axis the place in the whole array at which the piece begins; default: 0.
    """
    words = _as_words(piece)
    starts = (*(starts or ()), *[0] * words.ndim)
    for axis in reversed(range(words.ndim)):
        words = np.einsum("...i,i->...", words, _numbers(axis, starts[axis], words.shape[axis]))
    return int(words)


def _sum_here(array):
    """What this process adds to the sum of an array; shards that repeat others are left out."""
    if not (isinstance(array, jax.Array) and len(array.sharding.device_set) > 1):
        return sum_of_piece(array)
    return sum(
        sum_of_piece(shard.data, [part.start or 0 for part in shard.index])
        for shard in array.addressable_shards
        if shard.replica_id == 0
    )


def digest(array):
    """Type, shape and sum of an array as text; see `digests`.

    >>> digest(np.zeros((2, 3), np.float32))
    'float32[2, 3] 0000000000000000'
    """
    return digests([array])["0"]


def digests(tree):
    """{path: digest} of all arrays of a tree. A list, tuple or dict of them in a path reads alike.

        >>> list(digests({"a": [np.zeros(2), np.zeros(3)]}))
        ['a/0', 'a/1']

    Args:
      tree: of NumPy arrays, and of jax.Arrays, which may lie on the devices of several processes: these meet
        here then, each having read its own shards.
    """
    leaves = by_path(tree)
    sums = {path: _sum_here(leaf) % 2**64 for path, leaf in leaves.items()}
    shared = [p for p, leaf in leaves.items() if not getattr(leaf, "is_fully_addressable", True)]
    sums |= zip(shared, summed([sums[path] for path in shared]), strict=True)
    return {path: f"{_kind(leaf)} {sums[path]:016x}" for path, leaf in leaves.items()}


def _kind(array):
    array = array if isinstance(array, jax.Array) else np.asarray(array)
    return f"{array.dtype}{list(array.shape)}"


def by_path(tree):
    """{path: leaf} of a tree."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def differences(found, recorded):
    """Sentences on each array whose digest is another than the recorded one, {path: sentence}.

    >>> differences({"a": "float32[2] 0f", "b": "int32[] 01"}, {"a": "float32[2] 0e", "c": "int32[] 01"})
    {'a': 'its values are not those that were saved', 'b': 'it was not saved', 'c': 'it is missing'}
    """
    told = {}
    for path in sorted(found.keys() | recorded.keys()):
        now, then = found.get(path), recorded.get(path)
        if then is None:
            told[path] = "it was not saved"
        elif now is None:
            told[path] = "it is missing"
        elif now != then:
            kind, was = (text.rpartition(" ")[0] for text in (now, then))
            same = "its values are not those that were saved"
            told[path] = same if kind == was else f"it is {kind}, and {was} was saved"
    return told
