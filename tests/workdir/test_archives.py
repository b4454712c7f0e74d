"""An .npz file is read as far as it holds what it says."""

import io
import zipfile

import numpy as np
import pytest

from workdir import archives


def _member(header, content):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + content


def _archive(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_what_numpy_writes_is_read(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array("text"), "c": np.zeros((0, 3), np.uint8)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = archives.read(tmp_path / "a.npz")
        assert archives.names(tmp_path / "a.npz") == list(found) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
    assert list(archives.read(tmp_path / "a.npz", ("b", "absent"))) == ["b"]


@pytest.mark.parametrize("shape", [(10**15,), (2**62, 2**62), (3,), (9,), (-1,)])
def test_a_header_that_promises_other_than_follows_is_refused_before_it_is_believed(shape, tmp_path):
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    path = _archive(tmp_path / "a.npz", {"a.npy": _member(header, bytes(64))})
    with pytest.raises(archives.ArchiveError):
        archives.read(path)


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}, None], object))
    with pytest.raises(archives.ArchiveError, match="Python objects"):
        archives.read(tmp_path / "a.npz")


def test_every_damaged_byte_is_noticed_or_without_effect(tmp_path):
    path, generator = tmp_path / "a.npz", np.random.default_rng(0)
    np.savez(path, a=np.arange(40.0), b=np.arange(3))
    whole, sound = archives.read(path), path.read_bytes()
    for _ in range(300):
        damaged = bytearray(sound)
        damaged[generator.integers(len(damaged))] ^= 1 << generator.integers(8)
        path.write_bytes(bytes(damaged))
        try:
            found = archives.read(path)
        except archives.ArchiveError as error:
            assert len(str(error).splitlines()) == 1
        else:
            for name in set(found) & set(whole):
                np.testing.assert_array_equal(found[name], whole[name])


def test_a_missing_file_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        archives.read(tmp_path / "a.npz")
