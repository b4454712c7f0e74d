"""Arrays in a file of safetensors: a JSON header with names, types and places, then the numbers.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/x.safetensors", {"weight": np.arange(3.0)}, {"step": "3"})
    ...     read(f"{folder}/x.safetensors"), metadata(f"{folder}/x.safetensors")
    ({'weight': array([0., 1., 2.])}, {'step': '3'})

The form holds no code. The package `safetensors` checks that the header fits the file, before any number is
read; what it does not read into NumPy, bfloat16 among it, is given its type here. A header may be as large as
100 MB there, of millions of names without numbers; here it is as large as the names of a network ever are.
"""

import json
import mmap
import os
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from importers.opened import opened
from importers.refusal import RefusedFile, shown

# The header of a network of 10,000 tensors takes 1 MB.
LARGEST_HEADER = 4 * 2**20
_DTYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F32": np.float32,
    "F64": np.float64,
    "C64": np.complex64,
}


def read(path):
    """The arrays of a file by name, as the file has them; bfloat16 is ml_dtypes.bfloat16.

    They are read-only, and stay in the file until they are used.

    Raises:
      RefusedFile: no such file, a damaged or truncated one, or numbers of an unknown type.
    """
    header = _header(path)
    header.pop("__metadata__", None)
    with opened(path) as file:
        start = 8 + struct.unpack("<Q", file.read(8))[0]
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[start:]
    return {name: _array(path, name, tensor, data) for name, tensor in header.items()}


def _array(path, name, tensor, data):
    if tensor["dtype"] not in _DTYPES:
        raise RefusedFile(f"{path}: {shown(name)} is of the type {shown(tensor['dtype'])}, which is unknown.")
    try:
        start, end = tensor["data_offsets"]
        return np.frombuffer(data[start:end], _DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
    except ValueError as error:  # an empty array may have any shape for the package
        raise RefusedFile(f"{path}: {shown(name)} is no array ({shown(str(error))}).") from None


def metadata(path):
    """The text by name that stands beside the arrays; {} where there is none.

    Raises:
      RefusedFile: see `read`.
    """
    return _header(path).get("__metadata__") or {}


def write(path, arrays, metadata=None):
    """Writes arrays by name, whole or not at all; `read` gives them back bit for bit.

    Args:
      arrays: dict of arrays of plain numbers.
      metadata: dict from text to text.

    Raises:
      ValueError: an array of another type.
    """
    arrays = {name: _native(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.dtype not in map(np.dtype, _DTYPES.values()):
            raise ValueError(f"{name} is of type {array.dtype}, which safetensors does not have")
    unfinished = f"{path}.unfinished"
    try:
        safetensors.numpy.save_file(arrays, unfinished, metadata)
        os.replace(unfinished, path)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _native(array):
    """The array in C's order and this machine's byte order, which the package takes for granted."""
    array = np.asarray(array)
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def _header(path):
    """The header as a dict, which fits the file: the package looks at it and at the file's size alone."""
    with opened(path) as file:
        head = file.read(8)
        size = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if size > LARGEST_HEADER:
            raise RefusedFile(
                f"{path}: its header is larger than {LARGEST_HEADER >> 20} MB, which no network's is: the "
                "file is damaged, or of another form."
            )
        text = file.read(size)
    try:
        with safetensors.safe_open(path, framework="numpy"):
            return json.loads(text)
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from None


def _damaged(path, error):
    return RefusedFile(
        f"{path}: no whole file of safetensors ({shown(str(error))}): the file is truncated or damaged, "
        "or of another form."
    )
