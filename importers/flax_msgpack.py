"""Flax's checkpoints, msgpack of nested dicts of arrays: the `checkpoint_N` of score_sde.

The form holds no code: a reader's memory and time are what a file can be hostile to. One byte of msgpack may
be a list or a dict of its own, and its arrays may be of any size in name. So things are counted, nesting is
bounded, and an array is a view of the bytes that the file has for it, or is refused.

What Flax adds to msgpack: the extension 1 is an array, msgpack of [shape, name of the dtype, bytes]; 2 is a
complex number, 3 an array without axes as a number. An array of more than a gigabyte is a dict of parts.
"""

import math
import mmap
import struct

import ml_dtypes
import numpy as np

from importers.opened import opened
from importers.refusal import Refusal, RefusedFile, shown, type_name

# The largest checkpoint of score_sde holds some 10,000 things and is nested 6 deep.
_MOST_THINGS = 200_000
_DEEPEST = 50
_MOST_AXES = 32
_PARTS = "__msgpack_chunked_array__"
_DTYPES = {
    np.dtype(kind).name: np.dtype(kind)
    for kind in (
        *(np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
        *(np.float16, np.float32, np.float64, np.complex64, np.complex128, ml_dtypes.bfloat16),
    )
}
# First byte -> (struct of what follows it).
_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    **{0xCC + i: f">{code}" for i, code in enumerate("BHIQ")},
    **{0xD0 + i: f">{code}" for i, code in enumerate("bhiq")},
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
# First byte -> (what it begins, struct of its length).
_SIZED = {
    **{0xC4 + i: ("bytes", f">{code}") for i, code in enumerate("BHI")},
    **{0xC7 + i: ("extension", f">{code}") for i, code in enumerate("BHI")},
    **{0xD9 + i: ("text", f">{code}") for i, code in enumerate("BHI")},
    **{0xDC + i: ("list", f">{code}") for i, code in enumerate("HI")},
    **{0xDE + i: ("dict", f">{code}") for i, code in enumerate("HI")},
}
_OF_BOUNDED_SIZE = {0xD4 + i: 1 << i for i in range(5)}  # extensions of 1 to 16 bytes


def starts(head):
    """Whether a file that begins with these bytes may be one: a msgpack map that is not empty.

    A pickle's first two bytes are 0x80 and a protocol, where msgpack has the empty map.
    """
    return bool(head) and (0x81 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF))


def read(path):
    """The nested dicts of NumPy arrays of a file. Arrays are read-only, and stay in the file until used.

    Raises:
      RefusedFile: it is missing, truncated, damaged, of another form, or made of too many things.
    """
    try:
        with opened(path) as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = _Reader(data)
        found = reader.thing()
        if reader.at != len(data):
            raise Refusal(f"{len(data) - reader.at} bytes are left after its end")
        return found
    except OSError as error:
        raise RefusedFile(f"{path}: {error.strerror or 'it cannot be read'}.") from None
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        reason = str(error) if isinstance(error, Refusal) else f"{type_name(error)}: {shown(str(error))}"
        raise RefusedFile(
            f"{path}: no whole checkpoint of Flax ({reason}): the file is truncated or damaged."
        ) from None


class _Reader:
    """Reads one thing after the other.

    Args:
      data: bytes or mmap.

    Attributes:
      at: the place of the next byte.
    """

    def __init__(self, data, start=0, end=None):
        self._data, self.at, self._end = data, start, len(data) if end is None else end
        self._things = 0

    def thing(self, depth=0):
        """The thing at this place: a dict, list, text, bytes, number, array, or None."""
        self._things += 1
        if self._things > _MOST_THINGS:
            raise Refusal(f"it is made of more than {_MOST_THINGS} things, which no network is")
        if depth > _DEEPEST:
            raise Refusal(f"it is nested more than {_DEEPEST} deep, which no network is")
        first = self._number(">B")
        if first < 0x80:
            return first
        if first >= 0xE0:
            return first - 0x100
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            return self._number(_NUMBERS[first])
        return self._sized(*self._kind_and_size(first), depth + 1)

    def _kind_and_size(self, first):
        if first < 0xC0:
            kind, mask = (
                ("dict", 0x0F) if first < 0x90 else ("list", 0x0F) if first < 0xA0 else ("text", 0x1F)
            )
            return kind, first & mask
        if first in _OF_BOUNDED_SIZE:
            return "extension", _OF_BOUNDED_SIZE[first]
        if first not in _SIZED:
            raise Refusal(f"the byte {first:#x} begins nothing")
        kind, form = _SIZED[first]
        return kind, self._number(form)

    def _sized(self, kind, size, depth):
        if kind == "dict":
            return _joined({self._key(): self.thing(depth) for _ in range(size)})
        if kind == "list":
            return [self.thing(depth) for _ in range(size)]
        if kind == "extension":
            code = self._number(">b")
            return self._extension(code, self._skip(size), size)
        start = self._skip(size)
        content = self._data[start : start + size]
        return content.decode() if kind == "text" else content

    def _key(self):
        # Numbers as names can be chosen so that a dict takes for ever.
        key = self.thing(_DEEPEST)
        if type(key) is not str:
            raise Refusal(f"a name of type {type_name(key)}")
        return key

    def _extension(self, code, start, size):
        inner = _Reader(self._data, start, start + size)
        if code == 2:
            real, imaginary = inner.numbers(2)
            return complex(real, imaginary)
        if code not in (1, 3):
            raise Refusal(f"an extension {code}, which Flax does not have")
        array = inner.array()
        return array[()] if code == 3 else array

    def numbers(self, most):
        """A list of at most so many plain numbers."""
        size = self._list(most)
        found = [self.thing(_DEEPEST) for _ in range(size)]
        if any(type(number) not in (int, float) for number in found):
            raise Refusal("a shape or a number that is none")
        return found

    def array(self):
        """The array of an extension, as a view of its bytes."""
        if self._list(3) != 3:
            raise Refusal("an array that is not as Flax writes it")
        shape, name = self.numbers(_MOST_AXES), self.thing(_DEEPEST)
        name = name.decode("latin1") if isinstance(name, bytes) else name
        if not isinstance(name, str) or name not in _DTYPES:
            raise Refusal(f"an array of the type {shown(name)}")
        kind, size = self._kind_and_size(self._number(">B"))
        start, count = self._skip(size), math.prod(shape)
        dtype = _DTYPES[name]
        if kind not in ("bytes", "text") or self.at != self._end:
            raise Refusal("an array that is not as Flax writes it")
        if min(shape, default=0) < 0 or max(shape, default=0) > 2**40 or count * dtype.itemsize != size:
            raise Refusal(f"an array of shape {str(shape)[:60]} and {size} bytes")
        return (
            np.frombuffer(self._data, dtype, count, start).reshape(shape) if count else np.zeros(shape, dtype)
        )

    def _list(self, most):
        kind, size = self._kind_and_size(self._number(">B"))
        if kind != "list" or size > most:
            raise Refusal("an array that is not as Flax writes it")
        return size

    def _number(self, form):
        start = self._skip(struct.calcsize(form))
        return struct.unpack_from(form, self._data, start)[0]

    def _skip(self, size):
        """The place of so many bytes, behind which the reader then is."""
        start = self.at
        if size > self._end - start:
            raise Refusal("it ends too early")
        self.at += size
        return start


def _joined(found):
    """The dict, or the array of which it has the parts."""
    if _PARTS not in found:
        return found
    shape, parts = _in_order(found.get("shape")), _in_order(found.get("chunks"))
    if not all(isinstance(part, np.ndarray) and part.ndim == 1 for part in parts):
        raise Refusal("an array in parts that is not as Flax writes it")
    return np.concatenate(parts).reshape(shape)


def _in_order(numbered):
    """The values of {"0": ..., "1": ...}, as Flax writes a tuple."""
    if not isinstance(numbered, dict) or set(numbered) != {str(i) for i in range(len(numbered))}:
        raise Refusal("an array in parts that is not as Flax writes it")
    return [numbered[str(i)] for i in range(len(numbered))]
