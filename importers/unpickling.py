"""Pickles and torch's files, read without running what they ask for, and without torch.

    >>> import pickle, tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".pkl") as file:
    ...     _ = file.write(pickle.dumps({"step": 3, "weight": np.arange(2.0)}))
    ...     file.flush()
    ...     load(file.name)
    {'step': 3, 'weight': array([0., 1.])}

A pickle is a program. Python's unpickler, and torch.load with it, imports and calls whatever the program
names. `load` runs the part of the language that makes containers and tensors (importers/machine.py), looks
names up in a fixed table (importers/names.py), checks each tensor against the bytes that the file has for
it (importers/tensors.py), and refuses the rest in one line. What it spends is bounded
(importers/budget.py): a file of a megabyte cannot take a gigabyte, nor a minute.
"""

import mmap
import os

import numpy as np

from importers.budget import DEPTH, NESTED, NODES, Budget
from importers.names import PLAIN, Context, Record
from importers.opened import opened
from importers.refusal import Refusal, RefusedFile, type_name
from importers.tensors import Array, DType, Storage, Tensor
from importers.torch_files import is_pickles_in_a_row, read_pickles_in_a_row, read_tar, read_zip, run

__all__ = ["Record", "RefusedFile", "load"]


def load(path):
    """What a file holds, as plain containers of NumPy arrays.

    Read are pickles of protocols 0 to 5 (EDM's and EDM2's among them), and torch's files: zip archives,
    pickles in a row and tar archives of torch.save, TorchScript archives. Arrays are read-only, and share
    memory where tensors share a storage; halves (float16, bfloat16) of torch are float32, exactly.

    Returns:
      dict (also for OrderedDict and other kinds of dict), list, tuple, set, text, bytes, numbers, None,
      slice, np.ndarray and NumPy's scalars; a Record for an object or a class of torch's modules or of a
      published code base.

    Raises:
      RefusedFile: the file is missing, damaged, truncated, of another form, or asks for anything else.
    """
    try:
        with _contents(path) as data:
            budget = Budget(len(data))
            return _Resolved(budget).of(_read(data, Context(budget, nested=_nested(budget))))
    except Refusal as refusal:
        raise RefusedFile(f"{path}: {refusal}.") from None
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise RefusedFile(f"{path}: it makes no sense ({type_name(error)}): the file is damaged.") from error
    except OSError as error:
        raise RefusedFile(f"{path}: {error.strerror or 'it cannot be read'}.") from None


def _contents(path):
    """The file's bytes, mapped into memory, since they may be larger than that."""
    with opened(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise Refusal("the file is empty: a download may have failed")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


# How files start that are something else, and what they are.
_OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS in the place of the file: fetch it with git lfs pull",
    b"<!DOCTYPE": "a web page: the address leads to a page about the file, or asks for a login",
    b"<html": "a web page: the address leads to a page about the file, or asks for a login",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"\x93NUMPY": "an .npy file of NumPy, not a checkpoint",
    b"\x89HDF": "an HDF5 file, not one of torch or pickle",
    b"PK\x05\x06": "an empty zip archive",
}


def _read(data, context):
    """The object of a file by the form that its first bytes show, with tensors before they are arrays."""
    for start, what in _OTHERS.items():
        if data[: len(start)].lower() == start.lower():
            raise Refusal(what)
    if data[8:10] == b'{"':
        raise Refusal("a file of safetensors, which importers/safetensors.py reads")
    if data[:4] == b"PK\x03\x04":
        return read_zip(data, context)
    if is_pickles_in_a_row(data):
        return read_pickles_in_a_row(data, context)
    if data[257:262] == b"ustar":
        return read_tar(data, context)
    return run(data, context)


def _nested(budget):
    """A function that reads a torch file inside of a pickle."""

    def nested(content):
        budget.copy(len(content))
        budget.nested += 1
        if budget.nested > NESTED:
            raise Refusal("torch files within torch files within torch files: made to confuse readers")
        thing = _read(content, Context(budget, nested=nested))
        budget.nested -= 1
        return thing

    return nested


class _Resolved:
    """Containers with arrays in the place of importers.tensors' descriptions.

    Refused are containers that hold themselves, that are nested deeply, and those that hold a few others so
    often that whoever walks through them never comes to an end.
    """

    def __init__(self, budget):
        self._budget, self._seen = budget, {}

    def of(self, thing, depth=0):
        """The thing with arrays in it; containers that can change are changed in place."""
        return self._visit(thing, depth)[0]

    def _visit(self, thing, depth):
        """(the thing with arrays in it, the number of things in it)."""
        if type(thing) in PLAIN or isinstance(thing, np.generic):
            return thing, 1
        if depth > DEPTH:
            raise Refusal(f"things nested more than {DEPTH} deep: no network is, and readers fall over it")
        if id(thing) not in self._seen:
            self._seen[id(thing)] = thing, None, 0  # the thing too, so that its id stays its own
            self._seen[id(thing)] = thing, *self._replace(thing, depth + 1)
        _, replaced, nodes = self._seen[id(thing)]
        if not nodes:
            raise Refusal("a container that contains itself, which has no end")
        return replaced, nodes

    def _replace(self, thing, depth):
        if isinstance(thing, Storage):
            return thing.numbers(self._budget), 1
        if isinstance(thing, Tensor | Array):
            return thing.array(self._budget), 1
        if isinstance(thing, DType):
            return Record("numpy.dtype", (thing.dtype.str,)), 1
        if type(thing) in (set, frozenset, slice, complex):
            return thing, 1
        if type(thing) is dict:
            values, nodes = self._all(thing.values(), depth)
            thing.update(zip(thing, values, strict=True))
        elif type(thing) is list:
            thing[:], nodes = self._all(thing, depth)
        elif type(thing) is tuple:
            thing, nodes = self._all(thing, depth)
            thing = tuple(thing)
        elif isinstance(thing, Record):
            (thing.arguments, thing.state), nodes = self._all((thing.arguments, thing.state), depth)
        else:
            raise Refusal(f"a thing of type {type_name(thing)}")
        return thing, nodes

    def _all(self, things, depth):
        """([resolved], their number with what is in them)."""
        resolved, nodes = [], 1
        for thing in things:
            thing, more = self._visit(thing, depth)
            nodes += more
            if nodes > NODES:
                raise Refusal(
                    f"more than {NODES} things, made of a few that are repeated: a bomb for whoever walks it"
                )
            resolved.append(thing)
        return resolved, nodes
