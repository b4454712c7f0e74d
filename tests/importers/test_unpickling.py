"""Good files of every form give their arrays; hostile ones run nothing and are refused in one line."""

import collections
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from importers import modules, unpickling
from importers.unpickling import Record, RefusedFile
from tests.importers import hostile
from tests.importers.written import (
    Call,
    Name,
    Persistent,
    Raw,
    dumps,
    operations,
    persistent_object,
    row_bytes,
    row_file,
    row_storage,
    tar_file,
    tensor,
    zip_file,
    zip_storage,
)

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = np.random.default_rng(0).standard_normal(24).astype(np.float32)
HALVES = NUMBERS.astype(np.float16)
BRAINS = NUMBERS.astype(ml_dtypes.bfloat16)
STORAGES = {"0": NUMBERS, "1": HALVES, "2": BRAINS, "3": np.arange(5), "4": np.array([True, False])}
KINDS = {"0": "Float", "1": "Half", "2": "BFloat16", "3": "Long", "4": "Bool"}


def _load(tmp_path, content):
    path = tmp_path / "checkpoint"
    path.write_bytes(content)
    return unpickling.load(path)


def _state(storage):
    """A checkpoint over `storage(key)`, and what it holds."""
    made = {
        "whole": tensor(storage("0"), 0, (4, 6), (6, 1)),
        "transposed": tensor(storage("0"), 0, (6, 4), (1, 6)),
        "every second": tensor(storage("0"), 1, (4, 3), (6, 2)),
        "one": tensor(storage("0"), 5, (), ()),
        "none": tensor(storage("0"), 0, (0, 3), (3, 1)),
        "half": tensor(storage("1"), 0, (24,), (1,)),
        "brain": tensor(storage("2"), 0, (24,), (1,)),
        "step": tensor(storage("3"), 3, (1, 1), (7, 7)),
        "flags": tensor(storage("4"), 0, (2,), (1,)),
        "epoch": 3,
    }
    whole = NUMBERS.reshape(4, 6)
    held = {
        "whole": whole,
        "transposed": whole.T,
        "every second": whole[:, 1::2],
        "one": NUMBERS[5],
        "none": np.zeros((0, 3), np.float32),
        "half": HALVES.astype(np.float32),
        "brain": BRAINS.astype(np.float32),
        "step": np.array([[3]]),
        "flags": np.array([True, False]),
        "epoch": 3,
    }
    return made, held


def _zip():
    made, _ = _state(lambda key: zip_storage(KINDS[key], key, len(STORAGES[key])))
    return zip_file(made, {key: array.tobytes() for key, array in STORAGES.items()})


def _big_endian():
    made, _ = _state(lambda key: zip_storage(KINDS[key], key, len(STORAGES[key])))
    return zip_file(made, {key: array.byteswap().tobytes() for key, array in STORAGES.items()}, order="big")


def _row():
    made, _ = _state(lambda key: row_storage(KINDS[key], key, len(STORAGES[key])))
    return row_file(made, {key: (len(array), array.tobytes()) for key, array in STORAGES.items()})


def _plain():
    made, _ = _state(lambda key: row_bytes(KINDS[key], len(STORAGES[key]), STORAGES[key].tobytes()))
    return dumps(made)


def _tar():
    storages = [(int(key), KINDS[key], len(array), array.tobytes()) for key, array in STORAGES.items()]
    tensors = []

    def note(key, offset, shape, strides):
        tensors.append((100 + len(tensors), int(key), shape, strides, offset))
        return Persistent(str(tensors[-1][0]))

    made, _ = _state(lambda key: key)
    for name, thing in made.items():
        if isinstance(thing, Call):
            made[name] = note(thing.arguments[0], *thing.arguments[1:4])
    return tar_file(made, storages, tensors)


FORMS = {"zip": _zip, "big-endian zip": _big_endian, "row": _row, "plain": _plain, "tar": _tar}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_file_gives_its_arrays(tmp_path, form):
    loaded, (_, held) = _load(tmp_path, FORMS[form]()), _state(lambda key: key)
    assert list(loaded) == list(held) and loaded["epoch"] == 3
    for name in set(held) - {"epoch"}:
        assert loaded[name].dtype == held[name].dtype and not loaded[name].flags.writeable, name
        np.testing.assert_array_equal(loaded[name], held[name], err_msg=name)


def test_tensors_of_one_storage_share_memory(tmp_path):
    for form in ("zip", "row", "tar"):
        loaded = _load(tmp_path, FORMS[form]())
        assert np.shares_memory(loaded["whole"], loaded["transposed"]), form


def test_parts_of_a_storage_are_parts(tmp_path):
    parts = [row_storage("Float", "0", 24, ("1", start, 4)) for start in (0, 8)]
    content = row_file([tensor(part, 1, (3,), (1,)) for part in parts], {"0": (24, NUMBERS.tobytes())})
    first, second = _load(tmp_path, content)
    np.testing.assert_array_equal(first, NUMBERS[1:4])
    np.testing.assert_array_equal(second, NUMBERS[9:12])
    storages, parts = [(1, "Float", 24, NUMBERS.tobytes())], [(2, 1, 8, 8), (3, 2, 2, 4)]
    loaded = _load(tmp_path, tar_file(Persistent("7"), storages, [(7, 3, (3,), (1,), 1)], parts))
    np.testing.assert_array_equal(loaded, NUMBERS[11:14])


PLAIN = {
    "numbers": [0, -1, 255, 65536, -(2**31), 2**40, 2**70, 1.5, float("inf"), 2j, True, False, None],
    "text": ["", "ä", "x" * 300, b"", b"\0\xff", b"x" * 300, bytearray(b"abc")],
    "containers": [(), (1,), (1, 2, 3, 4), [], [[]], {}, {1: {2: 3}}, set(), {1, "a"}, frozenset({2})],
    "others": [slice(1, None, 2), collections.OrderedDict(a=1), collections.Counter("aab")],
    "arrays": [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(NUMBERS.reshape(4, 6)),
        np.float32(1.5),
        np.int64(7),
        np.array(2.5),
        np.arange(3, dtype=">i2"),
        np.zeros((0, 4)),
        np.array(["a", "bc"]),
        np.arange(3, dtype=np.complex64),
    ],
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("group", PLAIN)
def test_plain_pickles_of_every_protocol_give_what_they_hold(tmp_path, protocol, group):
    loaded = _load(tmp_path, pickle.dumps([PLAIN[group], PLAIN[group]], protocol))
    assert len(loaded) == 2
    for found, held in zip(loaded[0], PLAIN[group], strict=True):
        if isinstance(held, np.ndarray):
            assert found.dtype == held.dtype.newbyteorder("=") and not found.flags.writeable
            assert held.ndim < 2 or 0 in held.shape or found.flags.f_contiguous == held.flags.f_contiguous
        np.testing.assert_array_equal(found, held) if isinstance(held, np.ndarray) else None
        assert isinstance(held, np.ndarray) or found == held


def _linear(weight):
    return Call(
        Name("torch.nn.modules.linear", "Linear"), (), {"_parameters": {"weight": weight, "bias": None}}
    )


def test_a_network_of_edm_gives_its_tensors_and_its_source_is_not_run(tmp_path):
    canary = tmp_path / "canary"
    storage = row_bytes("Float", 24, NUMBERS.tobytes())
    parameter = Call(
        Name("torch._utils", "_rebuild_parameter"), (tensor(storage, 0, (4, 6), (6, 1)), True, {})
    )
    state = {
        "_init_kwargs": {"img_resolution": 32},
        "_parameters": {"scale": parameter},
        "_buffers": {"filter": tensor(storage, 0, (2,), (1,)), "passing": tensor(storage, 0, (1,), (1,))},
        "_non_persistent_buffers_set": Call(Name("builtins", "set"), (["passing"],)),
        "_modules": {"map": _linear(parameter)},
    }
    source = f"open({str(canary)!r}, 'w')"
    options = Call(Name("dnnlib.util", "EasyDict"), ())
    content = dumps({"ema": persistent_object("EDMPrecond", state, source), "dataset_kwargs": options})
    loaded = _load(tmp_path, content)
    assert loaded["dataset_kwargs"] == {} and loaded["ema"].name == "EDMPrecond" and not canary.exists()
    assert loaded["ema"].state["_init_kwargs"] == {"img_resolution": 32}
    tensors = modules.state_dict(loaded["ema"])
    assert list(tensors) == ["scale", "filter", "map.weight"]
    np.testing.assert_array_equal(tensors["map.weight"], NUMBERS.reshape(4, 6))


def test_torchscript_gives_tensors_and_its_code_is_not_read(tmp_path):
    canary = tmp_path / "canary"
    weight = tensor(zip_storage("Float", "0", 24), 0, (4, 6), (6, 1))
    layer = Call(
        Name("__torch__.torch.nn.modules.linear.___torch_mangle_0", "Linear"), (), {"weight": weight}
    )
    net = Call(Name("__torch__.net", "net"), (), {"training": False, "first": layer})
    code = f"import os\nos.system('touch {canary}')\n".encode()
    more = [("net/code/__torch__/net.py", code), ("net/constants.pkl", dumps(()))]
    loaded = _load(tmp_path, zip_file(net, {"0": NUMBERS.tobytes()}, more, root="net/"))
    assert not canary.exists() and loaded.state["training"] is False
    np.testing.assert_array_equal(modules.state_dict(loaded)["first.weight"], NUMBERS.reshape(4, 6))


def test_a_network_pickled_in_a_row_gives_its_tensors(tmp_path):
    weight = tensor(row_storage("Float", "0", 24), 0, (4, 6), (6, 1))
    kind = Persistent(("module", Name("torch.nn.modules.linear", "Linear"), "linear.py", "class Linear: ..."))
    layer = Call(kind, (), {"_parameters": {"weight": weight}})
    loaded = _load(tmp_path, row_file(layer, {"0": (24, NUMBERS.tobytes())}))
    assert isinstance(loaded, Record) and loaded.name == "torch.nn.modules.linear.Linear"
    np.testing.assert_array_equal(modules.state_dict(loaded)["weight"], NUMBERS.reshape(4, 6))


def test_what_is_no_network_has_no_tensors():
    for thing in ({"weight": NUMBERS}, Record("os.system"), Record("Net", (), {"_modules": [1]})):
        with pytest.raises(RefusedFile):
            modules.state_dict(thing)


def test_types_without_a_storage_class_are_read(tmp_path):
    function = Name("torch._utils", "_rebuild_tensor_v3")
    storage = zip_storage("Untyped", "0", 6)
    thing = Call(function, (storage, 1, (2,), (1,), False, {}, Name("torch", "uint16")))
    loaded = _load(tmp_path, zip_file(thing, {"0": np.array([1, 2, 60_000], np.uint16).tobytes()}))
    assert loaded.dtype == np.uint16 and loaded.tolist() == [2, 60_000]


def test_text_of_python_2_is_text_or_bytes(tmp_path):
    assert _load(tmp_path, b"\x80\x02(U\x02abU\x02\xff\x00S'a\\x62'\nl.") == ["ab", b"\xff\0", "ab"]


def test_what_names_no_code_stays_as_a_record(tmp_path):
    device = Call(Name("torch", "device"), ("cuda", 0))
    loaded = _load(tmp_path, dumps({"device": device, "type": Name("torch", "float32")}))
    assert (loaded["device"].name, loaded["device"].arguments) == ("torch.device", ("cuda", 0))
    assert (loaded["type"].name, loaded["type"].arguments) == ("torch.float32", None)
    assert repr(loaded["device"]) == "<Record torch.device>"


HOSTILE = hostile.files("canary")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of the hostile files, by number, beside which their canary would appear."""
    folder = tmp_path_factory.mktemp("hostile")
    for number, content in enumerate(hostile.files(folder / "canary").values()):
        (folder / f"{number}").write_bytes(content)
    return folder


@pytest.mark.parametrize("number", range(len(HOSTILE)), ids=list(HOSTILE))
def test_a_hostile_file_is_refused_in_one_line_and_runs_nothing(folder, number, young_heap):
    path, start = folder / f"{number}", time.process_time()
    with pytest.raises(RefusedFile) as refused:
        unpickling.load(path)
    assert time.process_time() - start < 2
    line = str(refused.value)
    assert line.startswith(f"{path}: ") and line.endswith(".") and "\n" not in line and line.isascii()
    assert len(line) < len(str(path)) + 300
    assert not (folder / "canary").exists()


def test_the_canary_sings_where_a_file_is_unpickled_by_python(folder):
    pickle.loads((folder / "0").read_bytes())
    assert (folder / "canary").exists()
    (folder / "canary").unlink()


# The peak of ru_maxrss would be that of the process that starts this one, where it is higher.
_READ_ALL = """
import pathlib, sys
from importers import unpickling
refused = 0
for path in pathlib.Path(sys.argv[1]).iterdir():
    try:
        unpickling.load(path)
    except unpickling.RefusedFile:
        refused += 1
status = dict(line.split(':') for line in open('/proc/self/status'))
print(refused, status['VmHWM'].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_all_hostile_files_together_take_less_than_200_mb(folder):
    command = [sys.executable, "-c", _READ_ALL, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    refused, peak = map(int, done.stdout.split())
    assert refused == len(HOSTILE) and peak < 200_000


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, form):
    content, draw = FORMS[form](), random.Random(0)
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 1, 8))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        damaged = damaged[: draw.choice((len(damaged), draw.randrange(len(damaged))))]
        try:
            _load(tmp_path, bytes(damaged))
        except RefusedFile as refusal:
            assert "\n" not in str(refusal)


def test_archives_with_sizes_of_64_bits_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "zipfile.ZIP64_LIMIT", 1
    )  # every size and place then goes where those of large files go
    monkeypatch.setattr("zipfile.ZIP_FILECOUNT_LIMIT", 1)
    content = _zip()
    assert b"PK\6\6" in content
    np.testing.assert_array_equal(_load(tmp_path, content)["whole"], NUMBERS.reshape(4, 6))


def test_what_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RefusedFile, match="no .*file"):
            unpickling.load(path)


def test_a_message_shows_no_control_characters(tmp_path):
    content = dumps(Raw(operations("os\n\x1b[2J") + operations("system" * 1000) + b"\x93"))
    with pytest.raises(RefusedFile) as refused:
        _load(tmp_path, content)
    assert str(refused.value).isprintable() and len(str(refused.value)) < len(str(tmp_path)) + 300
