"""The forms in which torch has written files: zip and TorchScript archives, pickles in a row, tar archives.

Zip, since torch 1.6: <name>/data.pkl is the pickle, <name>/data/<key> the numbers of a storage,
uncompressed; <name>/byteorder says "little" or "big". TorchScript's archives are alike, with code below
<name>/code, which is never read. Pickles in a row, since 0.1.10: a magic number, a protocol version, what
the writer's machine was like, the object, the keys of the storages, then each storage as its count and its
numbers. Tar, before: the members `storages`, `tensors` and `pickle`. In each, the pickle refers to storages
(or tensors) by persistent ids.
"""

import dataclasses
import re
import struct

from importers.machine import Machine
from importers.members import Zip, tar_members
from importers.names import Record
from importers.refusal import Refusal, shown
from importers.tensors import STORAGES, Part, Storage, Tensor, require_count

MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_BYTES = MAGIC.to_bytes(10, "little")
_PROTOCOL = 1001
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_MOST_STORAGES = 50_000


def is_pickles_in_a_row(data):
    """Whether bytes start with the pickle of torch's magic number."""
    return _MAGIC_BYTES in data[:32]


def _storage_type(record):
    """The dtype of a class of storages.

    Raises:
      Refusal: an unknown one.
    """
    name = record.name if isinstance(record, Record) and record.arguments is None else None
    if name not in STORAGES:
        raise Refusal(f"a storage of the type {shown(name or record)}, whose numbers are unknown here")
    return STORAGES[name]


def _storage_id(parts, length):
    """(dtype, key, count, further parts) of the persistent id ("storage", type, key, device, count, ...)."""
    if type(parts) is not tuple or len(parts) != length or parts[0] != "storage":
        raise Refusal(
            "a persistent id that is not one of torch's: the file is damaged, or made to confuse readers"
        )
    _, kind, key, _, count, *more = parts
    if type(key) is not str or not _KEY.fullmatch(key):
        raise Refusal(f"a storage with the key {shown(key)}, which leads elsewhere")
    require_count(count, "the size of a storage")
    return _storage_type(kind), key, count, more


def _same(storage, dtype, count):
    """A storage that is asked for again, refused where it is described in another way."""
    if storage.dtype != dtype or storage.count != count:
        raise Refusal("two storages share the same numbers as different types or sizes: the file is damaged")
    return storage


def read_zip(data, context):
    """The object of a zip or TorchScript archive.

    Args:
      data: bytes or mmap of the whole file.
      context: names.Context.

    Raises:
      Refusal: no archive of torch, or a damaged one.
    """
    archive = Zip(data)
    roots = [
        name.removesuffix("data.pkl") for name in archive.members if re.fullmatch("([^/]+/)?data.pkl", name)
    ]
    if len(roots) != 1:
        held = ", ".join(sorted(archive.members)[:3])
        raise Refusal(
            f"a zip archive that torch did not write: it has {len(roots)} data.pkl, and {shown(held)}"
        )
    root, storages = roots[0], {}
    big_endian = _big_endian(archive, f"{root}byteorder")

    def persistent(parts):
        dtype, key, count, _ = _storage_id(parts, 5)
        if key not in storages:
            name, size = f"{root}data/{key}", count * dtype.itemsize
            if archive.size(name) != size:
                raise Refusal(
                    f"{shown(name)} has {archive.size(name)} bytes, and a storage of {size} is to be read "
                    "from it: the file is damaged, or made to confuse readers"
                )
            storages[key] = Storage(dtype, count, archive.read(name), big_endian)
        return _same(storages[key], dtype, count)

    script = f"{root}constants.pkl" in archive.members
    return run(
        archive.read(f"{root}data.pkl"), dataclasses.replace(context, persistent=persistent, script=script)
    )


def _big_endian(archive, name):
    order = archive.read(name) if name in archive.members else b"little"
    if order not in (b"little", b"big"):
        raise Refusal(f"the byte order {shown(str(order[:20], 'latin1'))}, which is none")
    return order == b"big"


def run(data, context):
    """The object of a pickle that takes all the bytes.

    Raises:
      Refusal: see Machine; bytes after its end.
    """
    machine = Machine(data, 0, context)
    thing = machine.run()
    if machine.position != len(data):
        raise Refusal(f"{len(data) - machine.position} bytes follow the pickle's end: the file is damaged")
    return thing


class _Row:
    """Pickles and numbers one after the other."""

    def __init__(self, data, context):
        self._data, self._context, self._position = data, context, 0
        # Views of bytes need no memory of their own; those of an mmap would end with it.
        self._bytes = memoryview(data) if isinstance(data, bytes) else data

    def pickle(self):
        """The object of the next pickle."""
        machine = Machine(self._data, self._position, self._context)
        thing = machine.run()
        self._position = machine.position
        return thing

    def take(self, size):
        """The next bytes, or a view of them."""
        end = self._position + size
        if end > len(self._data):
            left = len(self._data) - self._position
            raise Refusal(f"{size} bytes of numbers are promised, and {left} are left: the file is truncated")
        taken = self._bytes[self._position : end]
        self._position = end
        return taken

    def numbers(self, count):
        """The next whole numbers of 64 bits."""
        return struct.unpack(f"<{count}q", self.take(8 * count))

    def storage_numbers(self, dtype, expected=None):
        """(count, bytes) of a storage's numbers, which follow their count."""
        (count,) = self.numbers(1)
        require_count(count, "the size of a storage")
        if expected is not None and count != expected:
            raise Refusal(f"a storage of {expected} numbers has {count} in the file: it is damaged")
        return count, self.take(count * dtype.itemsize)

    def end(self):
        """Refuses bytes that are left."""
        if self._position != len(self._data):
            raise Refusal(
                f"{len(self._data) - self._position} bytes follow the last storage: the file is damaged"
            )


def read_pickles_in_a_row(data, context):
    """The object of a file of pickles in a row (torch before 1.6, and storages inside of plain pickles).

    Raises:
      Refusal: a damaged or truncated file, or one of another version.
    """
    storages, parts_of = {}, {}

    def persistent(parts):
        if type(parts) is tuple and len(parts) == 4 and parts[0] == "module":
            return parts[1]  # a class, with its source, which stays unread
        dtype, key, count, (part,) = _storage_id(parts, 6)
        if key not in storages:
            storages[key] = Storage(dtype, count)
        storage = _same(storages[key], dtype, count)
        return storage if part is None else _part(parts_of, key, storage, part)

    row = _Row(data, dataclasses.replace(context, persistent=persistent))
    if row.pickle() != MAGIC:
        raise Refusal("a file that starts like torch's, with another magic number")
    if row.pickle() != _PROTOCOL:
        raise Refusal(f"a file of torch with a protocol other than {_PROTOCOL}, the only one known")
    system = row.pickle()
    if type(system) is not dict or system.get("little_endian") is not True:
        raise Refusal("a file of torch from a machine that is not little-endian, which is not read")
    thing, keys = row.pickle(), row.pickle()
    if (
        type(keys) is not list
        or any(type(key) is not str for key in keys)
        or sorted(keys) != sorted(storages)
    ):
        raise Refusal("the storages of the file are not those that its tensors use: it is damaged")
    for key in keys:
        _, content = row.storage_numbers(storages[key].dtype, storages[key].count)
        storages[key].fill(content)
    row.end()
    return thing


def _part(parts_of, key, whole, part):
    """The part of a storage that (its key, start, count) describes, the same whenever it is asked for."""
    if type(part) is not tuple or len(part) != 3 or type(part[0]) is not str:
        raise Refusal("a part of a storage that is not as torch describes it")
    name, start, count = part
    require_count(count, "the size of a storage")
    return parts_of.setdefault((key, name, start, count), Part(whole, start, count))


def read_tar(data, context):
    """The object of a tar archive (torch before 0.1.10).

    Raises:
      Refusal: a damaged archive, or one that torch did not write.
    """
    members = tar_members(data)
    if set(members) != {"storages", "tensors", "pickle"}:
        held = ", ".join(sorted(members)[:5]) or "nothing"
        raise Refusal(f"a tar archive that torch did not write: it holds {shown(held)}")
    storages = _tar_storages(_Row(members["storages"], context))
    things = {**storages, **_tar_tensors(_Row(members["tensors"], context), storages)}

    def persistent(key):
        if type(key) is tuple and key:
            return key[0]  # a class, with its source, which stays unread
        key = int(key) if type(key) is str and key.isdecimal() and len(key) < 25 else key
        if type(key) is not int or key not in things:
            raise Refusal(f"a tensor with the key {shown(key)}, which the archive does not have")
        return things[key]

    return run(members["pickle"], dataclasses.replace(context, persistent=persistent))


def _rows(row):
    """The pickled tuples of three that follow their number."""
    count = row.pickle()
    require_count(count, "the number of storages or tensors")
    if count > _MOST_STORAGES:
        raise Refusal(f"{count} storages or tensors; no network has as many")
    for _ in range(count):
        entry = row.pickle()
        if type(entry) is not tuple or len(entry) != 3 or type(entry[0]) is not int:
            raise Refusal("a storage or tensor that is not as torch describes it")
        yield entry


def _tar_storages(row):
    """Storages by key: (key, device, type) and the numbers of each; then parts of them."""
    storages = {}
    for key, _, kind in _rows(row):
        dtype = _storage_type(kind)
        storages[key] = Storage(dtype, *row.storage_numbers(dtype))
    parts = row.pickle()
    if type(parts) is not list:
        raise Refusal("parts of storages that are not as torch describes them")
    for part in parts:
        if type(part) is not tuple or len(part) != 4 or any(type(number) is not int for number in part):
            raise Refusal("a part of a storage that is not as torch describes it")
        key, whole, start, count = part
        if whole not in storages or key in storages:
            raise Refusal("a part of a storage that is not there")
        storages[key] = Part(storages[whole], start, count)
    row.end()
    return storages


def _tar_tensors(row, storages):
    """Tensors by key: (key, its storage's, type), then axes, shape, strides and offset as numbers."""
    tensors = {}
    for key, storage, _ in _rows(row):
        if type(storage) is not int or storage not in storages:
            raise Refusal("a tensor whose storage is not in the archive")
        (axes,) = struct.unpack("<i", row.take(4))
        row.take(4)  # the number of axes was once written in 8 bytes
        if not 0 <= axes <= 32:
            raise Refusal(f"a tensor of {axes} axes")
        shape, strides, (offset,) = row.numbers(axes), row.numbers(axes), row.numbers(1)
        tensors[key] = Tensor(storages[storage], offset, shape, strides)
    row.end()
    return tensors
