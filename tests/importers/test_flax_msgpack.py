"""Flax's checkpoints are read as Flax reads them; hostile ones are refused in one line, time and memory."""

import struct
import subprocess
import sys

import flax.serialization
import ml_dtypes
import numpy as np
import pytest

from importers import flax_msgpack
from importers.refusal import RefusedFile
from tests.conftest import ROOT
from tests.importers.hostile import flax_files as hostile_files
from tests.importers.test_safetensors import damaged

HOSTILE = dict(hostile_files())
TREE = {
    "step": np.int32(7),
    "lr": 2e-4,
    "rng": np.array([0, 2**32 - 1], np.uint32),
    "numbers": {
        str(i): n for i, n in enumerate((0, 127, 128, 2**40, -1, -32, -33, -(2**40), True, False, None, 1.5))
    },
    "texts": {"": "", "ä" * 40: "x" * 300, "bytes": b"\0\xff"},
    "complex": {"own": 1 + 2j, "array": np.ones((2, 1), np.complex64)},
    "arrays": {
        "matrix": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32),
        "brain": np.arange(4).astype(ml_dtypes.bfloat16),
        "none": np.zeros((0, 3), np.float16),
        "number": np.array(2.0),
        "large": np.arange(100_000, dtype=np.int16),
    },
    "many": {str(i): i for i in range(70_000)},
    "empty": {},
}


def _equal(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name, value in expected.items():
            _equal(found[name], value)
    elif isinstance(expected, np.ndarray | np.generic):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("chunk", [None, 1000])
def test_a_file_is_what_flax_reads_in_it(tmp_path, monkeypatch, chunk):
    if chunk:
        monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", chunk)
    content = flax.serialization.msgpack_serialize(TREE)
    path = tmp_path / "checkpoint_7"
    path.write_bytes(content)
    found = flax_msgpack.read(path)
    _equal(found, flax.serialization.msgpack_restore(content))
    assert (b"__msgpack_chunked_array__" in content) == bool(chunk)
    assert chunk or not found["arrays"]["matrix"].flags.writeable


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / "checkpoint_7"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(RefusedFile) as refused:
        flax_msgpack.read(path)
    line = str(refused.value)
    assert line.startswith(f"{path}: ") and "\n" not in line and line.isascii()
    assert len(line) < len(str(path)) + 300


_READ_ALL = """
import pathlib, sys, time
from importers import flax_msgpack, safetensors
from importers.refusal import RefusedFile
refused = 0
for path in pathlib.Path(sys.argv[1]).iterdir():
    start = time.process_time()
    try:
        (safetensors if path.suffix else flax_msgpack).read(path)
    except RefusedFile:
        refused += 1
    assert time.process_time() - start < 2, path
status = dict(line.split(':') for line in open('/proc/self/status'))
print(refused, status['VmHWM'].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_all_hostile_files_of_flax_and_of_safetensors_take_2_s_each_and_less_than_200_mb(tmp_path):
    for number, content in enumerate(HOSTILE.values()):
        (tmp_path / f"{number}").write_bytes(content)
    for number, content in enumerate(damaged()):
        (tmp_path / f"{number}.safetensors").write_bytes(content)
    command = [sys.executable, "-c", _READ_ALL, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    refused, peak = map(int, done.stdout.split())
    assert refused == len(list(tmp_path.iterdir())) and peak < 200_000


def test_a_file_is_known_by_its_first_byte():
    assert flax_msgpack.starts(b"\x81\xa1") and flax_msgpack.starts(struct.pack(">BI", 0xDF, 7))
    assert not any(map(flax_msgpack.starts, (b"\x80\x04", b"PK", b"")))
