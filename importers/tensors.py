"""Tensors and arrays as files describe them, checked before they are made.

A tensor is a storage (numbers in a row), an offset, a shape and strides, each in elements: entry (i, j,
...) is number offset + i stride_0 + j stride_1 + ... of the storage. A file may state any of these, so
nothing is allocated from a shape: an array is a read-only view of the numbers that the file holds.

Refused are tensors that reach outside their storage and tensors whose entries share numbers, since four
numbers can pretend to be a terabyte that way. Storages of half precision become float32, exactly and once a
storage; numbers in the other byte order are turned.
"""

import math

import ml_dtypes
import numpy as np

from importers.refusal import Refusal, shown, type_name

_NUMBERS = {
    "Double": np.float64,
    "Float": np.float32,
    "Half": np.float16,
    "BFloat16": ml_dtypes.bfloat16,
    "Long": np.int64,
    "Int": np.int32,
    "Short": np.int16,
    "Char": np.int8,
    "Byte": np.uint8,
    "Bool": np.bool_,
    "ComplexFloat": np.complex64,
    "ComplexDouble": np.complex128,
    "Untyped": np.uint8,
}
# Names of torch's classes of storages, on either device.
STORAGES = {
    f"torch.{module}{name}Storage": np.dtype(dtype)
    for name, dtype in _NUMBERS.items()
    for module in ("", "cuda.", "storage.", "storage._")
}
# torch's own names of dtypes, for tensors over untyped storages.
DTYPES = {
    f"torch.{name}": np.dtype(dtype)
    for name, dtype in {
        **{
            f"{kind}{bits}": f"{kind}{bits}"
            for kind in ("float", "int", "uint")
            for bits in (8, 16, 32, 64)
            if (kind, bits) != ("float", 8)
        },
        **{"double": "f8", "float": "f4", "half": "f2", "long": "i8", "int": "i4", "short": "i2"},
        **{"bool": "?", "complex64": "c8", "complex128": "c16", "bfloat16": ml_dtypes.bfloat16},
    }.items()
}
_HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
_MOST_AXES = 32
_MOST_NUMBERS = 2**40


def require_counts(numbers, what):
    """Refuses what is not a tuple (or list) of a few whole numbers from 0 on; torch.Size counts as one."""
    if type(numbers) not in (tuple, list):
        raise Refusal(f"{what} is of type {type_name(numbers)}, and must be whole numbers")
    if len(numbers) > _MOST_AXES:
        raise Refusal(f"{what} has {len(numbers)} numbers; no tensor of a network has as many axes")
    for number in numbers:
        require_count(number, what)


def require_count(number, what):
    """Refuses what is not a whole number in 0..2^40."""
    if type(number) is not int or not 0 <= number <= _MOST_NUMBERS:
        raise Refusal(f"{what} is {shown(number)}, and must be a whole number in 0..2^40")


def _require_size(shape, what):
    """Refuses shapes that no file could hold; an axis of length 0 does not excuse the others."""
    require_counts(shape, f"the shape of {what}")
    if math.prod(max(n, 1) for n in shape) > _MOST_NUMBERS:
        raise Refusal(f"{what} of shape {_row(shape)} is larger than any network")


def _row(numbers):
    return shown(str(list(numbers)))


class Storage:
    """Numbers in a row, whose bytes may come after the tensors that use them.

    Args:
      dtype: of the numbers as the file has them.
      count: of the numbers.
      content: their bytes, or None where `fill` brings them later.
      big_endian: whether the most significant byte comes first.
    """

    def __init__(self, dtype, count, content=None, big_endian=False):
        require_count(count, "the size of a storage")
        self.dtype, self.count, self.big_endian = dtype, count, big_endian
        self._content, self._arrays = None, {}
        if content is not None:
            self.fill(content)

    @property
    def size(self):
        """Of the storage, in bytes."""
        return self.count * self.dtype.itemsize

    def fill(self, content):
        """Takes the bytes.

        Raises:
          Refusal: there are more or fewer than the storage needs.
        """
        if len(content) != self.size:
            raise Refusal(f"a storage of {self.size} bytes has {len(content)} in the file")
        self._content = content

    def numbers(self, budget, dtype=None):
        """[count] the numbers, read-only.

        Args:
          dtype: to read them in, of an untyped storage; None is the storage's own.

        Raises:
          Refusal: the file has no bytes for them.
        """
        dtype = self.dtype if dtype is None else dtype
        if dtype not in self._arrays:
            if self._content is None:
                raise Refusal("a tensor's storage is not in the file")
            self._arrays[dtype] = _numbers(self._content, dtype, self.big_endian, budget)
            if self.dtype != np.uint8:  # only untyped storages are read as other types too
                self._content = None
        return self._arrays[dtype]


class Part(Storage):
    """Numbers start..start + count of another storage, which share memory with it."""

    def __init__(self, whole, start, count):
        require_count(start, "the start of a part of a storage")
        super().__init__(whole.dtype, count, None, whole.big_endian)
        if start + count > whole.count:
            raise Refusal(f"numbers {start}..{start + count} of a storage of {whole.count}")
        if isinstance(whole, Part):  # parts of parts of parts may be many
            whole, start = whole._whole, start + whole._start
        self._whole, self._start = whole, start

    def numbers(self, budget, dtype=None):
        """See Storage."""
        if dtype not in (None, self.dtype):
            raise Refusal("a part of a storage is read as another type")
        return self._whole.numbers(budget)[self._start : self._start + self.count]


def _numbers(content, dtype, big_endian, budget):
    """Bytes as a read-only row of numbers that are native, and float32 where they are halves."""
    if len(content) % dtype.itemsize:
        raise Refusal(f"{len(content)} bytes are no whole number of {dtype}")
    array = np.frombuffer(content, dtype) if len(content) else np.zeros(0, dtype)
    if big_endian and dtype.itemsize > 1:
        budget.copy(array.nbytes)
        array = array.byteswap()
    if dtype in _HALVES:
        budget.copy(2 * array.nbytes)
        array = array.astype(np.float32)
    elif dtype == np.bool_:
        budget.copy(array.nbytes)
        array = array.view(np.uint8) != 0  # a byte of 2 is no bool to NumPy
    array.flags.writeable = False
    return array


class Tensor:
    """A tensor before its storage is known to be there. Its numbers are checked here; `array` makes the view.

    Args:
      storage: Storage.
      offset: of the first entry; shape, strides: for each axis; all in elements.
      dtype: of the entries where the storage is untyped.

    Raises:
      Refusal: what is no storage, or no counts.
    """

    def __init__(self, storage, offset, shape, strides, dtype=None):
        if not isinstance(storage, Storage):
            raise Refusal(f"a tensor's storage is of type {type_name(storage)}")
        require_count(offset, "the offset of a tensor")
        _require_size(shape, "a tensor")
        require_counts(strides, "the strides of a tensor")
        if len(shape) != len(strides):
            raise Refusal(f"a tensor of shape {_row(shape)} has the strides {_row(strides)}")
        self.storage, self.offset, self.shape, self.strides = storage, offset, tuple(shape), tuple(strides)
        self.dtype = dtype

    def array(self, budget):
        """The entries as a read-only view of the storage.

        Raises:
          Refusal: entries outside of the storage, or that share its numbers.
        """
        numbers = self.storage.numbers(budget, self.dtype)
        if 0 in self.shape:
            empty = np.zeros(self.shape, numbers.dtype)
            empty.flags.writeable = False
            return empty
        reach = 0
        for stride, n in sorted((s, n) for s, n in zip(self.strides, self.shape, strict=True) if n > 1):
            if stride <= reach:
                raise Refusal(
                    f"entries of a tensor of shape {_row(self.shape)} and strides {_row(self.strides)} "
                    "overlap: it pretends to be larger than it is"
                )
            reach += stride * (n - 1)
        if self.offset + reach >= len(numbers):
            raise Refusal(
                f"a tensor of shape {_row(self.shape)}, strides {_row(self.strides)} and offset "
                f"{self.offset} needs more than the {len(numbers)} numbers of its storage"
            )
        steps = [s if n > 1 else 1 for s, n in zip(self.strides, self.shape, strict=True)]
        steps = [step * numbers.itemsize for step in steps]
        view = np.lib.stride_tricks.as_strided
        return view(numbers[self.offset :], self.shape, steps, writeable=False)


class DType:
    """NumPy's dtype as its pickles build it: from a short name, then a byte order."""

    def __init__(self, name):
        plain = isinstance(name, str) and 0 < len(name) <= 6 and (len(name) == 1 or name[1:].isdecimal())
        if not plain or name[0] not in "?bBhHiIlLqQefdFDucSU":
            raise Refusal(f"an array of the NumPy type {shown(name)}, which is no type of plain numbers")
        self.dtype = np.dtype(name)

    def build(self, state):
        """Takes the byte order out of a pickled dtype's state: (version, order, None, None, None, ...)."""
        if (
            type(state) is not tuple
            or len(state) < 5
            or set(state[2:5]) != {None}
            or state[1] not in tuple("<>|=")
        ):
            raise Refusal("a NumPy type with fields, which is no type of plain numbers")
        self.dtype = self.dtype.newbyteorder(state[1])


class Array:
    """NumPy's array as its pickles build it: empty at first, then a state."""

    def __init__(self):
        self._array = None

    def build(self, state):
        """Takes a pickled array's state: (version, shape, dtype, in Fortran's order, bytes)."""
        if type(state) is not tuple or len(state) != 5:
            raise Refusal("a NumPy array's state is not one of NumPy's")
        _, shape, dtype, fortran, content = state
        self.fill(shape, dtype, "F" if fortran is True else "C", content)

    def fill(self, shape, dtype, order, content):
        """Views bytes as an array of a shape, in the "C" or "F" order.

        Raises:
          Refusal: there are more or fewer bytes than the shape needs.
        """
        if not isinstance(dtype, DType):
            raise Refusal(f"a NumPy array's dtype is of type {type_name(dtype)}")
        content = content.encode("ascii") if isinstance(content, str) else content
        if type(content) is not bytes:
            raise Refusal("a NumPy array of objects, not of bytes")
        _require_size(shape, "a NumPy array")
        needs = math.prod(shape) * dtype.dtype.itemsize
        if needs != len(content):
            raise Refusal(f"a NumPy array of shape {_row(shape)} takes {needs} bytes, and has {len(content)}")
        if order not in ("C", "F"):
            raise Refusal(f"a NumPy array in the order {shown(order)}")
        row = np.frombuffer(content, dtype.dtype) if needs else np.zeros(math.prod(shape), dtype.dtype)
        self._array = row.reshape(shape, order=order)

    def array(self, budget):
        """The array, read-only and in the native byte order.

        Raises:
          Refusal: the file stops before its contents.
        """
        if self._array is None:
            raise Refusal("a NumPy array without contents")
        if not self._array.dtype.isnative:
            budget.copy(self._array.nbytes)
            self._array = self._array.astype(self._array.dtype.newbyteorder("="))
        self._array.flags.writeable = False
        return self._array


def scalar(dtype, content):
    """NumPy's scalar from its dtype and bytes."""
    array = Array()
    array.fill((), dtype, "C", content)
    return array.array(_NoBudget)[()]


class _NoBudget:
    """A single number costs nothing."""

    @staticmethod
    def copy(size):
        if size > 2**10:
            raise Refusal(f"a NumPy scalar of {size} bytes")
