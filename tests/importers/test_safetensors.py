"""Files of safetensors come back bit for bit, and damaged ones are refused in one line."""

import os
import struct
import time

import ml_dtypes
import numpy as np
import pytest

from importers import safetensors
from importers.refusal import RefusedFile

ARRAYS = {
    "matrix": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32),
    "of Fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "number": np.float32(np.nan),
    "empty": np.zeros((0, 3), np.int64),
    "brain": np.arange(4).astype(ml_dtypes.bfloat16),
    "half": np.arange(4, dtype=np.float16),
    "flags": np.array([True, False]),
    "other end": np.arange(3, dtype=">i4"),
    "every second": np.arange(8)[::2],
}


def test_arrays_come_back_bit_for_bit(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.write(path, ARRAYS, {"config": "{}"})
    found = safetensors.read(path)
    assert set(found) == set(ARRAYS) and safetensors.metadata(path) == {"config": "{}"}
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype.newbyteorder("=") and found[name].shape == array.shape, name
        assert found[name].tobytes() == array.astype(found[name].dtype).tobytes(), name
        assert not found[name].flags.writeable
    assert list(tmp_path.iterdir()) == [path]


def test_an_array_of_another_type_leaves_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.write(path, ARRAYS)
    before = path.read_bytes()
    for array in (np.array(["a"]), np.array([None]), np.zeros(1, np.complex128)):
        with pytest.raises(ValueError, match="weight is of type"):
            safetensors.write(path, {"weight": array})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def _header(text):
    return struct.pack("<Q", len(text)) + text.encode()


def damaged():
    yield from (b"", b"\0" * 4, struct.pack("<Q", 2**63), struct.pack("<Q", 2**40) + b"{", _header("{"))
    yield _header("[]")
    for shape, offsets in [
        ((5,), (0, 16)),
        ((-1,), (0, 16)),
        ((2**62, 2**62), (0, 16)),
        ((4,), (0, 2**40)),
        ((4,), (16, 0)),
        ((4,), (1, 17)),
    ]:
        shape, offsets = list(shape), list(offsets)
        yield _header(f'{{"w": {{"dtype": "F32", "shape": {shape}, "data_offsets": {offsets}}}}}') + bytes(16)
    yield _header('{"w": {"dtype": "Q4", "shape": [4], "data_offsets": [0, 16]}}') + bytes(16)
    yield _header('{"w": {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [0, 16]}}') + bytes(16)
    twice = '{"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}'
    yield _header(f'{{"v": {twice}, "w": {twice}}}') + bytes(16)
    yield _header("[" * 100_000)
    yield _header("{}" + " " * 5_000_000)
    empty = ",".join(
        f'"{i}": {{"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}' for i in range(90_000)
    )
    yield _header(f"{{{empty}}}")
    for shape, size in [("[0, 9223372036854775807]", 0), (str([1] * 100), 4)]:
        yield _header(f'{{"w": {{"dtype": "F32", "shape": {shape}, "data_offsets": [0, {size}]}}}}') + bytes(
            size
        )
    for offsets in ("[-4, 0]", "[0.0, 4.0]", '"0"', "[0]", "[0, 18446744073709551616]"):
        yield _header(f'{{"w": {{"dtype": "F32", "shape": [1], "data_offsets": {offsets}}}}}') + bytes(4)


@pytest.mark.parametrize("content", list(damaged()), ids=lambda content: f"{content[8:60]}")
def test_a_damaged_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(RefusedFile) as refused:
        safetensors.read(path)
    assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)


def test_a_cut_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.write(path, ARRAYS)
    content = path.read_bytes()
    for size in range(0, len(content), 37):
        path.write_bytes(content[:size])
        for reader in (safetensors.read, safetensors.metadata):
            with pytest.raises(RefusedFile):
                reader(path)


def test_what_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        for reader in (safetensors.read, safetensors.metadata):
            with pytest.raises(RefusedFile, match="no .*file"):
                reader(path)


def test_a_sparse_file_is_checked_before_its_numbers_are_read(tmp_path, young_heap):
    path = tmp_path / "weights.safetensors"
    length = 150 * 2**30
    text = f'{{"w": {{"dtype": "F32", "shape": [{length}], "data_offsets": [0, {4 * length}]}}}}'
    for missing in (4, 0):
        path.write_bytes(_header(text))
        os.truncate(path, 8 + len(text) + 4 * length - missing)
        start = time.process_time()
        if missing:
            with pytest.raises(RefusedFile, match="truncated"):
                safetensors.read(path)
        else:
            assert safetensors.read(path)["w"][-1] == 0
        assert time.process_time() - start < 1
