"""Pickles and torch files written byte by byte: torch is not there, and no library writes hostile files."""

import io
import pickle
import struct
import tarfile
import zipfile
from typing import NamedTuple

MAGIC = 0x1950A86A20F9469CFC6C


class Raw(NamedTuple):
    """Operations as they stand."""

    code: bytes


class Name(NamedTuple):
    module: str
    name: str


class Call(NamedTuple):
    """A call of a Name, with a state where there is one."""

    function: object
    arguments: tuple = ()
    state: object = None


class Persistent(NamedTuple):
    key: object


def operations(thing):
    """The operations that leave a thing on the stack."""
    kind = type(thing)
    if kind is Raw:
        return thing.code
    if kind is Name:
        return f"c{thing.module}\n{thing.name}\n".encode()
    if kind is Call:
        state = b"" if thing.state is None else operations(thing.state) + b"b"
        return operations(thing.function) + operations(tuple(thing.arguments)) + b"R" + state
    if kind is Persistent:
        return operations(thing.key) + b"Q"
    if kind in (list, tuple):
        return b"(" + b"".join(map(operations, thing)) + (b"l" if kind is list else b"t")
    if kind is dict:
        return b"(" + b"".join(operations(key) + operations(value) for key, value in thing.items()) + b"d"
    if kind in (str, bytes):
        content = thing.encode() if kind is str else thing
        return (b"X" if kind is str else b"B") + struct.pack("<I", len(content)) + content
    return pickle.dumps(thing, 2)[2:-1]  # a plain number; 2: without frames


def dumps(thing):
    """A pickle of protocol 2 (with a few operations of later ones)."""
    return b"\x80\x02" + operations(thing) + b"."


def tensor(storage, offset, shape, strides):
    """A tensor over a storage, as torch pickles it."""
    hooks = Call(Name("collections", "OrderedDict"))
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), (storage, offset, shape, strides, False, hooks))


def zip_storage(kind, key, count):
    """A storage as zip archives refer to it."""
    return Persistent(("storage", Name("torch", f"{kind}Storage"), key, "cpu", count))


def row_storage(kind, key, count, part=None):
    """A storage as pickles in a row refer to it."""
    return Persistent(("storage", Name("torch", f"{kind}Storage"), key, "cpu", count, part))


def zip_file(thing, storages=None, more=(), order="little", compression=zipfile.ZIP_STORED, root="archive/"):
    """A file of torch.save; `storages` are bytes by key, `more` members (name, bytes)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{root}data.pkl", dumps(thing))
        archive.writestr(f"{root}byteorder", order)
        for key, content in (storages or {}).items():
            archive.writestr(f"{root}data/{key}", content, compression)
        archive.writestr(f"{root}version", "3\n")
        for name, content in more:
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def row_file(thing, storages=None, keys=None):
    """A file of torch.save before torch 1.6; `storages` are (count, bytes) by key."""
    storages = storages or {}
    system = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    keys = list(storages) if keys is None else keys
    pickles = b"".join(map(dumps, (MAGIC, 1001, system, thing, keys)))
    return pickles + b"".join(struct.pack("<q", count) + content for count, content in storages.values())


def tar(members, kind=tarfile.REGTYPE):
    """A tar archive of (name, bytes)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def tar_file(thing, storages, tensors, parts=(), more=()):
    """A file of torch before 0.1.10.

    storages: (key, kind, count, bytes); tensors: (key, storage, shape, strides, offset);
    parts: (key, storage, start, count); the thing refers to tensors by Persistent(str(key)).
    """
    first = dumps(len(storages))
    for key, kind, count, content in storages:
        first += dumps((key, "cpu", Name("torch", f"{kind}Storage"))) + struct.pack("<q", count) + content
    first += dumps([tuple(part) for part in parts])
    second = dumps(len(tensors))
    for key, storage, shape, strides, offset in tensors:
        second += dumps((key, storage, Name("torch", "FloatTensor")))
        second += struct.pack(f"<i4x{2 * len(shape) + 1}q", len(shape), *shape, *strides, offset)
    return tar([("storages", first), ("tensors", second), ("pickle", dumps(thing)), *more])


def inside(file):
    """A torch file inside of a plain pickle."""
    return Call(Name("torch.storage", "_load_from_bytes"), (file,))


def row_bytes(kind, count, content):
    """A storage inside of a plain pickle: torch pickles it as a torch file of its own."""
    inner = row_file(row_storage(kind, "0", count), {"0": (count, content)})
    return Call(
        Name("torch.storage", "_load_from_bytes"), (Raw(b"B" + struct.pack("<I", len(inner)) + inner),)
    )


def persistent_object(name, state, source="import torch\n"):
    """An object as torch_utils.persistence of EDM pickles it, with the source of its class."""
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": name, "state": state}
    return Call(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))
