"""Flax's checkpoints are read as Flax reads them; hostile ones are refused in one line, time and memory."""

import struct

import flax.serialization
import ml_dtypes
import numpy as np
import pytest

from importers import flax_msgpack
from importers.refusal import RefusedFile
from tests.importers.hostile import flax_files as hostile_files

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


def test_a_file_is_known_by_its_first_byte():
    assert flax_msgpack.starts(b"\x81\xa1") and flax_msgpack.starts(struct.pack(">BI", 0xDF, 7))
    assert not any(map(flax_msgpack.starts, (b"\x80\x04", b"PK", b"")))
