"""Files that ask for code to run, for memory, or for time, by what they do."""

import io
import pickle
import struct
import tarfile
import zipfile

from tests.importers.written import (
    Call,
    Name,
    Persistent,
    Raw,
    dumps,
    inside,
    operations,
    persistent_object,
    row_bytes,
    row_file,
    row_storage,
    tar,
    tar_file,
    tensor,
    zip_file,
    zip_storage,
)

LINEAR = Name("torch.nn.modules.linear", "Linear")
FOUR = struct.pack("<4f", 1, 2, 3, 4)


def _codes(canary):
    """Pickles that run a command, or would with a reader that lets them."""
    command = f"touch {canary}"
    source = f"import os; os.system({command!r})"
    system = Name("os", "system")
    run = Call(system, (command,))
    yield "GLOBAL os.system", dumps(run)
    yield "GLOBAL posix.system", dumps(Call(Name("posix", "system"), (command,)))
    yield "GLOBAL nt.system", dumps(Call(Name("nt", "system"), (command,)))
    yield "GLOBAL subprocess.Popen", dumps(Call(Name("subprocess", "Popen"), (["touch", str(canary)],)))
    yield "GLOBAL runpy", dumps(Call(Name("runpy", "run_path"), (str(canary),)))
    yield "GLOBAL of a function that is not called", dumps({"weights": system})
    yield "GLOBAL torch.load", dumps(Call(Name("torch", "load"), (str(canary),)))
    yield "GLOBAL torch.hub", dumps(Call(Name("torch.hub", "load"), ("a/b", "c")))
    yield (
        "GLOBAL numpy's test runner",
        dumps(Call(Name("numpy.testing._private.utils", "runstring"), (source, {}))),
    )
    yield "GLOBAL with dots", dumps(Call(Name("torch.nn.modules.module", "os.system"), (command,)))
    yield "GLOBAL of a lambda's maker", dumps(Call(Name("types", "FunctionType"), ()))
    yield "GLOBAL __torch__ outside of TorchScript", dumps(Call(Name("__torch__", "Net"), ()))
    evaluate = Raw(operations("builtins") + operations("eval") + b"\x93")
    yield "STACK_GLOBAL builtins.eval", dumps(Call(evaluate, (f"__import__('os').system({command!r})",)))
    yield "STACK_GLOBAL of numbers", dumps(Raw(operations(1) + operations(2) + b"\x93"))
    yield "exec", dumps(Call(Name("builtins", "exec"), (source,)))
    yield "compile", dumps(Call(Name("__builtin__", "compile"), (source, "", "exec")))
    imported = Call(Name("builtins", "__import__"), ("os",))
    yield "REDUCE chain", dumps(Call(Call(Name("builtins", "getattr"), (imported, "system")), (command,)))
    partial = Call(Name("functools", "partial"), (system, command))
    yield "REDUCE of a partial", dumps(Call(partial, ()))
    yield "REDUCE of a number", dumps(Call(3, (command,)))
    yield "REDUCE of an object", dumps(Call(Call(LINEAR, ()), (command,)))
    yield "REDUCE by map", dumps(Call(Name("builtins", "map"), (system, [command])))
    yield "BUILD with __setstate__", dumps(Call(LINEAR, (), {"__setstate__": 1}))
    yield "BUILD with a __setstate__ that runs", dumps(Call(LINEAR, (), {"__setstate__": system}))
    yield "BUILD with __reduce__", dumps(Call(LINEAR, (), (None, {"__reduce__": 1})))
    yield "BUILD with __class__", dumps(Call(LINEAR, (), {"__class__": LINEAR}))
    yield "BUILD of a class", dumps(Raw(operations(LINEAR) + operations({"forward": 1}) + b"b"))
    yield "BUILD twice", dumps(Raw(operations(Call(LINEAR, (), {"a": 1})) + operations({"a": 2}) + b"b"))
    yield "BUILD of a list", dumps(Raw(b"]" + operations({"append": 1}) + b"b"))
    yield "NEWOBJ", dumps(Raw(operations(Name("subprocess", "Popen")) + operations((command,)) + b"\x81"))
    yield "NEWOBJ_EX", dumps(Raw(operations(LINEAR) + b")" + operations({"bias": 1}) + b"\x92"))
    yield "INST", f"(S'{command}'\nios\nsystem\n.".encode()
    yield "OBJ", dumps(Raw(b"(" + operations(system) + operations(command) + b"o"))
    yield "OBJ of a class that is known", dumps(Raw(b"(" + operations(LINEAR) + operations(command) + b"o"))
    yield "EXT1", dumps(Raw(b"\x82\x01"))
    yield "EXT2", dumps(Raw(b"\x83\x01\x00"))
    yield "EXT4", dumps(Raw(b"\x84\x01\x00\x00\x00"))
    yield "NEXT_BUFFER", dumps(Raw(b"\x97"))
    yield (
        "a source of another kind",
        dumps(Call(Name("torch_utils.persistence", "_src_to_module"), (source,))),
    )
    meta = {"type": "module", "module_src": source}
    yield (
        "a source without a class",
        dumps(Call(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))),
    )
    yield "a class with a name that is code", dumps(persistent_object(source, {}))
    yield "code inside of a state", dumps(persistent_object("Net", {"weight": run}))
    inner = dumps(run)
    nested = Call(
        Name("torch.storage", "_load_from_bytes"), (Raw(b"B" + struct.pack("<I", len(inner)) + inner),)
    )
    yield "a torch file inside with code", dumps(tensor(nested, 0, (1,), (1,)))
    yield "a zip archive with code", zip_file(run)
    yield "TorchScript with code in its pickle", zip_file(run, more=[("archive/constants.pkl", dumps(()))])
    yield "pickles in a row with code", row_file(run)
    yield "pickles in a row with code for keys", row_file(3, keys=run)
    yield (
        "pickles in a row with code about the system",
        (dumps(0x1950A86A20F9469CFC6C) + dumps(1001) + dumps(run) + dumps(1) + dumps([])),
    )
    yield "a tar archive with code", tar_file(run, [], [])
    yield (
        "a subclass of tensors",
        dumps(Call(Name("torch._tensor", "_rebuild_from_type_v2"), (system, LINEAR, (command,), {}))),
    )
    yield (
        "a dict that makes its values",
        dumps(Raw(operations(Call(Name("collections", "defaultdict"), (system,))) + operations({}) + b"b")),
    )


def _references():
    """Persistent ids that are none, and storages that are not there."""
    yield "PERSID in a plain pickle", b"Pstorage\n."
    yield "BINPERSID in a plain pickle", dumps(Persistent("../../etc/passwd"))
    for name, key in {
        "text": "0",
        "number": 3,
        "another kind": ("module", Name("torch", "FloatStorage"), "0", "cpu", 4),
        "too short": ("storage", Name("torch", "FloatStorage"), "0"),
        "a key that climbs": ("storage", Name("torch", "FloatStorage"), "../../data.pkl", "cpu", 4),
        "a key that is a number": ("storage", Name("torch", "FloatStorage"), 0, "cpu", 4),
        "an unknown type": ("storage", Name("torch", "QInt8Storage"), "0", "cpu", 4),
        "a type that is text": ("storage", "FloatStorage", "0", "cpu", 4),
        "a negative size": ("storage", Name("torch", "FloatStorage"), "0", "cpu", -4),
        "an overflowing size": ("storage", Name("torch", "FloatStorage"), "0", "cpu", 2**63 + 4),
        "a size that is a bool": ("storage", Name("torch", "FloatStorage"), "0", "cpu", True),
        "a larger size than its member": ("storage", Name("torch", "FloatStorage"), "0", "cpu", 5),
        "an absent member": ("storage", Name("torch", "FloatStorage"), "1", "cpu", 4),
    }.items():
        yield f"a persistent id: {name}", zip_file(tensor(Persistent(key), 0, (1,), (1,)), {"0": FOUR})
    two = [tensor(zip_storage(kind, "0", count), 0, (1,), (1,)) for kind, count in (("Float", 4), ("Int", 4))]
    yield "one storage as two types", zip_file(two, {"0": FOUR})
    part = row_storage("Float", "0", 4, ("1", 3, 2))
    yield "a part outside of its storage", row_file(tensor(part, 0, (1,), (1,)), {"0": (4, FOUR)})
    part = row_storage("Float", "0", 4, ("1", -1, 2))
    yield "a part before its storage", row_file(tensor(part, 0, (1,), (1,)), {"0": (4, FOUR)})
    whole = tensor(row_storage("Float", "0", 4), 0, (4,), (1,))
    yield "a storage of another size", row_file(whole, {"0": (2**40, FOUR)})
    yield "a storage that is never brought", row_file(whole, {}, [])
    yield "a storage that nobody asked for", row_file(3, {"0": (4, FOUR)})
    yield "a storage that is cut", row_file(whole, {"0": (4, FOUR[:-1])})
    yield "bytes after the storages", row_file(whole, {"0": (4, FOUR)}) + b"\0"
    yield "a tar tensor that is absent", tar_file(Persistent("7"), [], [])
    yield "a tar tensor without its storage", tar_file(Persistent("7"), [], [(7, 1, (1,), (1,), 0)])
    yield "a tar part of nothing", tar_file(Persistent("7"), [], [], [(7, 1, 0, 1)])
    parts = [(i + 1, i, 0, 4) for i in range(1, 5_000)]
    chained = tar_file(Persistent("7"), [(1, "Float", 4, FOUR)], [(7, 5_000, (5,), (1,), 0)], parts)
    yield "tar parts of parts of parts", chained
    yield "a tar storage of 2^60", tar_file(3, [(1, "Float", 2**60, FOUR)], [])
    yield (
        "a torch file inside that is no storage",
        dumps(Call(Name("torch.storage", "_load_from_bytes"), (Raw(b"C\x05" + b"\x80\x02K\x03."),))),
    )


def _shapes():
    """Tensors that their storage of four numbers does not have."""
    for name, offset, shape, strides in [
        ("larger than its storage", 0, (5,), (1,)),
        ("of a terabyte", 0, (2**18, 2**18), (2**18, 1)),
        ("of more numbers than an address has", 0, (2**40, 2**40), (1, 1)),
        ("of 2^63 numbers", 0, (2**63,), (1,)),
        ("of 2^200 numbers", 0, (2**200,), (1,)),
        ("of a negative length", 0, (-1,), (1,)),
        ("of two negative lengths", 0, (-2, -2), (1, 1)),
        ("of a length that is a fraction", 0, (1.5,), (1,)),
        ("of a length that is a bool", 0, (True,), (1,)),
        ("of no shape", 0, None, (1,)),
        ("with a negative stride", 3, (4,), (-1,)),
        ("with an overflowing stride", 0, (2,), (2**62,)),
        ("with a stride of 2^64", 0, (2,), (2**64,)),
        ("with a negative offset", -1, (2,), (1,)),
        ("with an offset outside", 4, (1,), (1,)),
        ("with an overflowing offset", 2**63 - 1, (2,), (1,)),
        ("that is one number repeated", 0, (2**30,), (0,)),
        ("whose rows overlap", 0, (3, 2), (1, 1)),
        ("whose entries overlap", 0, (2, 2), (2, 2)),
        ("with fewer strides than axes", 0, (2, 2), (1,)),
        ("of a thousand axes", 0, (1,) * 1000, (1,) * 1000),
        ("that is empty and huge", 0, (2**39, 2**39, 0), (1, 1, 1)),
    ]:
        thing = tensor(zip_storage("Float", "0", 4), offset, shape, strides)
        yield f"a tensor {name}", zip_file({"weight": thing}, {"0": FOUR})
    row = tensor(row_storage("Float", "0", 4), 0, (2**30,), (0,))
    yield "a tensor in a row that overlaps", row_file(row, {"0": (4, FOUR)})
    nested = tensor(row_bytes("Float", 4, FOUR), 0, (5,), (1,))
    yield "a tensor in a plain pickle that is too large", dumps(nested)
    old = [(1, "Float", 4, FOUR)]
    yield "a tar tensor that is too large", tar_file(Persistent("7"), old, [(7, 1, (2**40,), (1,), 0)])
    yield "a tar tensor of a negative stride", tar_file(Persistent("7"), old, [(7, 1, (4,), (-1,), 3)])
    conjugated = Call(
        Name("torch._utils", "_rebuild_tensor_v2"),
        (zip_storage("Float", "0", 4), 0, (1,), (1,), False, {}, {"neg": True}),
    )
    yield "a negated tensor", zip_file(conjugated, {"0": FOUR})


def _arrays():
    """NumPy's arrays that are none."""
    empty = Call(Name("numpy.core.multiarray", "_reconstruct"), (Name("numpy", "ndarray"), (0,), b"b"))

    def array(shape, name, content, state=(3, "<", None, None, None, -1, -1, 0)):
        dtype = Call(Name("numpy", "dtype"), (name, 0, 1), state)
        return dumps(Call(empty.function, empty.arguments, (1, shape, dtype, False, content)))

    content = Raw(b"C\x08" + bytes(8))
    yield "a NumPy array of objects", array((1,), "O8", [Call(Name("os", "system"), ("true",))])
    yield "a NumPy array of objects as bytes", array((1,), "O8", content)
    yield "a NumPy array of fields", array((1,), "V8", content, (3, "|", None, ("a",), {"a": 1}, 8, 1, 0))
    yield "a NumPy array larger than its bytes", array((2**40,), "f8", content)
    yield "a NumPy array of negative shape", array((-1,), "f8", content)
    yield "a NumPy array of an overflowing shape", array((2**62, 4), "f8", content)
    yield "a NumPy array of giant items", array((0,), "S999999999", Raw(b"C\x00"))
    yield "a NumPy array without contents", dumps(empty)
    yield (
        "a NumPy matrix",
        dumps(Call(Name("numpy.core.multiarray", "_reconstruct"), (Name("numpy", "matrix"), (0,), b"b"))),
    )
    yield "numpy.load", dumps(Call(Name("numpy", "load"), ("x.npy", None, True)))


def _bombs():
    """Little files that are large in memory, long in time, or deep."""
    yield "lists nested 100,000 deep", dumps(Raw(b"]" * 100_000 + b"a" * 99_999))
    yield "tuples nested 100,000 deep", dumps(Raw(b")" + b"\x85" * 100_000))
    yield "dicts nested 100,000 deep", dumps(Raw(b"}K\x01" * 100_000 + b"N" + b"s" * 100_000))
    yield (
        "objects nested 100,000 deep",
        dumps(Raw(operations(LINEAR) + b"q\x00)R" + b"h\x00)R" * 99_999 + b"b" * 99_999)),
    )
    yield "marks, a million", dumps(Raw(b"(" * 1_000_000))
    tens = [b"q" + bytes([i]) + b"0](" + (b"h" + bytes([i])) * 10 + b"e" for i in range(30)]
    yield "a billion laughs in lists", dumps(Raw(b"]" + b"".join(tens)))
    doubled = b"K\x01" + b"2\x86" * 80
    yield "a billion laughs in tuples", dumps(Raw(doubled))
    yield "a billion laughs for a key", dumps(Raw(b"}" + doubled + b"K\x01s"))
    yield "a billion laughs for a member", dumps(Raw(b"\x8f(" + doubled + b"\x90"))
    yield "a list in itself", dumps(Raw(b"]q\x00h\x00a"))
    yield "a dict in itself", dumps(Raw(b"}q\x00K\x01h\x00s"))
    yield "an object in itself", dumps(Raw(operations(Call(LINEAR)) + b"q\x00" + b"(K\x01h\x00db"))
    yield "a whole number of a megabyte", dumps(Raw(b"\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20))
    yield "a whole number of a negative length", dumps(Raw(b"\x8b" + struct.pack("<i", -1)))
    yield "a whole number of a million digits", b"L" + b"9" * 1_000_000 + b"L\n."
    yield "bytes of 2^60", dumps(Raw(b"\x8e" + struct.pack("<Q", 2**60)))
    yield "bytes of 2^64 - 1", dumps(Raw(b"\x8e" + struct.pack("<Q", 2**64 - 1)))
    yield "a bytearray of 2^50", dumps(Raw(b"\x96" + struct.pack("<Q", 2**50)))
    yield "text of 2^62", dumps(Raw(b"\x8d" + struct.pack("<Q", 2**62)))
    yield "text of a negative length", dumps(Raw(b"T" + struct.pack("<i", -5)))
    yield "a frame of 2^60", b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N."
    yield "a place in the memo below 0", b"]p-1\n."
    yield "a place in the memo that is empty", dumps(Raw(b"j\xff\xff\xff\xff"))
    keys = b"".join(operations(i * (2**61 - 1)) + b"N" for i in range(1, 60_000))
    yield "keys that collide", dumps(Raw(b"}(" + keys + b"u"))
    yield "sets, a million", dumps(Raw(b"(" + b"\x8f" * 990_000 + b"l"))
    yield "dicts, a million", dumps(Raw(b"(" + b"}" * 990_000 + b"l"))
    make = operations(Name("collections", "OrderedDict")) + b"q\x000"
    yield "ordered dicts, a quarter of a million", dumps(Raw(make + b"(" + b"h\x00)R" * 240_000 + b"l"))
    yield "operations, two million", dumps(Raw(b"N0" * 1_000_000 + b"N"))
    megabyte = b"X" + struct.pack("<I", 2**20) + b"a" * 2**20
    encode = b"h\x00h\x01\x86q\x020" + b"(" + b"h\x03h\x02R" * 1_000 + b"l"
    head = (
        megabyte
        + b"q\x000"
        + operations("latin1")
        + b"q\x010"
        + operations(Name("_codecs", "encode"))
        + b"q\x030"
    )
    yield "one text encoded a thousand times", dumps(Raw(head + encode))
    load = operations(Name("torch.storage", "_load_from_bytes")) + b"q\x000"
    inner = row_file(row_storage("Float", "0", 2**18), {"0": (2**18, bytes(2**20))})
    content = b"B" + struct.pack("<I", len(inner)) + inner + b"\x85q\x010"
    again = Raw(load + content + b"(" + b"h\x00h\x01R" * 1_000 + b"l")
    yield "one torch file inside, read a thousand times", dumps(again)
    nested = Raw(b"N")
    for _ in range(30):
        nested = inside(dumps(nested))
    yield "torch files inside of torch files", dumps(nested)


def _packed(*members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def _archives():
    """Archives that are none, and bombs."""
    whole = tensor(zip_storage("Float", "0", 2**24), 0, (2**24,), (1,))
    yield "a zip bomb", zip_file(whole, {"0": bytes(2**26)}, compression=zipfile.ZIP_DEFLATED)
    four = tensor(zip_storage("Float", "0", 4), 0, (4,), (1,))
    good = zip_file(four, {"0": FOUR})
    entry = good.rfind(b"PK\x01\x02", 0, good.rfind(b"archive/data/0"))
    larger = bytearray(good)
    larger[entry + 20 : entry + 28] = struct.pack("<2I", 2**31, 2**31)
    yield "a member larger than the file", bytes(larger)
    first = good.find(b"PK\x01\x02")
    same = bytearray(good)
    same[entry + 42 : entry + 46] = good[first + 42 : first + 46]
    yield "two members at one place", bytes(same)
    yield "two members that overlap", _overlapping(good, entry)
    promised = bytearray(good)
    promised[-14:-10] = struct.pack("<2H", 60_000, 60_000)
    yield "a table of contents of 60,000 members", bytes(promised)
    outside = bytearray(good)
    outside[-6:-2] = struct.pack("<I", 2**31)
    yield "a table of contents outside of the file", bytes(outside)
    yield "a member that climbs", zip_file(four, {"0": FOUR}, more=[("../../canary", b"x")])
    yield "a member from the root", zip_file(four, {"0": FOUR}, more=[("/tmp/canary", b"x")])
    yield "a member with a drive", zip_file(four, {"0": FOUR}, more=[("c:\\canary", b"x")])
    yield "two members of one name", good_twice(four)
    yield "an archive without a pickle", _packed(("archive/data/0", FOUR))
    yield "an archive of two pickles", _packed(("a/data.pkl", dumps(1)), ("b/data.pkl", dumps(1)))
    yield "an archive of NumPy", _packed(("x.npy", b"\x93NUMPY"))
    yield "an unknown byte order", zip_file(four, {"0": FOUR}, order="middle")
    damaged = bytearray(good)
    damaged[good.find(FOUR)] ^= 1
    yield "a bit that flipped", bytes(damaged)
    for share in (0.05, 0.3, 0.6, 0.9, 0.99):
        yield f"a zip archive cut at {share:.0%}", good[: int(share * len(good))]
    row = row_file(tensor(row_storage("Float", "0", 4), 0, (4,), (1,)), {"0": (4, FOUR)})
    for share in (0.1, 0.5, 0.95):
        yield f"pickles in a row cut at {share:.0%}", row[: int(share * len(row))]
    plain = pickle.dumps({"a": list(range(1000)), "b": bytes(1000)})
    for share in (0.02, 0.5, 0.99):
        yield f"a pickle cut at {share:.0%}", plain[: int(share * len(plain))]
    old = tar_file(Persistent("7"), [(1, "Float", 4, FOUR)], [(7, 1, (4,), (1,), 0)])
    yield "a tar archive that is cut", old[:1000]
    yield "a tar archive with a damaged header", old[:20] + b"x" + old[21:]
    yield "a tar archive that climbs", tar([("../../canary", b"x")])
    yield "a tar archive from the root", tar([("/tmp/canary", b"x")])
    yield "a tar archive of links", tar([("storages", b"")], tarfile.SYMTYPE)
    yield "a tar archive of devices", tar([("storages", b"")], tarfile.CHRTYPE)
    yield "a tar archive of other files", tar([("a", b"x")])
    yield "a tar archive of many files", tar([(f"m{i}", b"") for i in range(500)])
    yield "a web page", b"<!DOCTYPE html><html>"
    yield "a pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
    yield "gzip", b"\x1f\x8b" + bytes(20)
    yield "a file of safetensors", struct.pack("<Q", 2) + b'{"a": 1}'
    yield "noise", bytes(range(256)) * 10
    yield "zeros", bytes(2000)
    yield "nothing", b""


def _overlapping(good, entry):
    """The archive with its storage as one large member that holds the members after it too."""
    changed = bytearray(good)
    changed[entry + 20 : entry + 28] = struct.pack("<2I", 90, 90)
    return bytes(changed)


def good_twice(thing):
    """An archive whose storage is there twice."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of the name
        return zip_file(thing, {"0": FOUR}, more=[("archive/data/0", FOUR)])


def files(canary):
    """Hostile files as {what they do: bytes}; `canary` is the path that none may make."""
    made = {}
    for group in (_codes(canary), _references(), _shapes(), _arrays(), _bombs(), _archives()):
        for name, content in group:
            assert name not in made, name
            made[name] = content
    return made


def _flax_array(shape, dtype, content, code=1, more=b""):
    """Flax's extension of an array, whatever is in it."""
    import msgpack

    return msgpack.packb(msgpack.ExtType(code, msgpack.packb((shape, dtype, content)) + more))


def flax_files():
    """(what it does, bytes) of hostile and damaged files in Flax's form: maps of one name."""
    name = b"\x81\xa1x"
    million = 2_000_000
    yield "a billion lists", name + b"\xdd" + struct.pack(">I", 10**9)
    yield "lists, two millions", name + b"\xdd" + struct.pack(">I", million) + b"\x90" * million
    yield "dicts, two millions", name + b"\xdd" + struct.pack(">I", million) + b"\x80" * million
    yield "numbers, eight millions", name + b"\xdd" + struct.pack(">I", 4 * million) + b"\x00" * 4 * million
    yield "dicts nested 100,000 deep", name * 100_000 + b"\x01"
    yield "lists nested 900 deep", name + b"\x91" * 900 + b"\x01"
    yield "lists for a name", b"\x81\x91\x91\x01\x01"
    keys = b"".join(b"\xcf" + struct.pack(">Q", i * (2**61 - 1)) + b"\x00" for i in range(1, 8))
    yield "numbers for names", b"\x87" + keys
    yield "bytes of 4 GB", name + b"\xc6\xff\xff\xff\xff" + b"x"
    yield "text of 4 GB", name + b"\xdb\xff\xff\xff\xff" + b"x"
    yield "text that is none", name + b"\xa2\xff\xfe"
    yield "an extension of 4 GB", name + b"\xc9\xff\xff\xff\xff\x01"
    yield "an unknown extension", name + b"\xd4\x05\x00"
    yield "a moment", name + b"\xd6\xff\x00\x00\x00\x00"
    yield "the byte that begins nothing", name + b"\xc1"
    yield "bytes after its end", name + b"\x01\x01"
    yield "an array larger than its bytes", name + _flax_array((2**40,), "float32", bytes(16))
    yield "an array smaller than its bytes", name + _flax_array((2,), "float32", bytes(16))
    yield "an array of negative lengths", name + _flax_array((-2, -2), "float32", bytes(16))
    yield "an array of 2^126 numbers", name + _flax_array((2**63, 2**63), "float32", bytes(16))
    yield "an array that is empty and huge", name + _flax_array((2**63, 0), "float32", b"")
    yield "an array of a fraction's length", name + _flax_array((1.5,), "float32", bytes(4))
    yield "an array of no shape", name + _flax_array("4", "float32", bytes(16))
    yield "an array of a thousand axes", name + _flax_array((1,) * 1000, "float32", bytes(4))
    yield "an array of objects", name + _flax_array((1,), "object", bytes(8))
    yield "an array of fields", name + _flax_array((1,), "i4,i4", bytes(8))
    yield "an array of text", name + _flax_array((1,), "<U4", bytes(16))
    yield "an array of no type", name + _flax_array((1,), 3, bytes(8))
    yield "an array of numbers for bytes", name + _flax_array((4,), "uint8", [1, 2, 3, 4])
    yield "an array with something behind", name + _flax_array((4,), "float32", bytes(16), more=b"\x01")
    lists = (
        b"\xc9"
        + struct.pack(">I", 5 + million)
        + b"\x01\xdd"
        + struct.pack(">I", million)
        + b"\x90" * million
    )
    yield "lists within an array", name + lists
    yield "an array with axes as a number", name + _flax_array((2**50,), "float32", b"", code=3)
    parts = b"\x83\xb9__msgpack_chunked_array__\xc3\xa5shape\x81\xa10\xcd\x40\x00\xa6chunks"
    yield "an array in parts that are none", name + parts + b"\x81\xa10\x01"
    yield "an array in no parts", name + parts + b"\x80"
    yield (
        "an array in parts of the wrong names",
        name + parts + b"\x81\xa11" + _flax_array((4,), "float32", bytes(16)),
    )
    yield "an array in too few parts", name + parts + b"\x81\xa10" + _flax_array((4,), "float32", bytes(16))
