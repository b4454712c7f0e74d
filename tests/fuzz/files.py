"""Files that a config names, crafted and damaged: measured arrays of every mode, and images."""

import io
import json
import zipfile

import numpy as np

from denoisers import variance
from samplers import fitted_grid, optimal_grid
from samplers.solvers import fitted
from samplers.solvers.adams import Adams
from samplers.time_grids import VPTime, half_log_snr_ends
from sde_lib import VP
from tests.fuzz import trial
from workdir.files import checksum

ORIGIN = {"sde": repr(VP()), "variance": "small", "parameters": "00000000", "step": 3}


def sound():
    """{name: (FileKind, arrays, overrides that read the file, the field that names it)} of sound files."""
    vp, levels = VP(), np.linspace(0.1, 1.0, 6)
    table = fitted.arrays_of(Adams(3)(vp, VPTime()(vp, 5)))
    costs = np.abs(np.subtract.outer(levels, levels))
    density = {"levels": np.linspace(*half_log_snr_ends(vp), 9), "density": np.ones(9)}
    moments = {
        "log_snr": np.linspace(-9, 9, 7),
        "moments": np.full((7, 2), 0.5),
        "errors": np.full((7, 2), 0.01),
    }
    predictor, grid, name = "sampling.predictor", "sampling.grid", "sampling.variance"
    return {
        "table": (fitted.TABLE_FILE, table, {predictor: "fitted"}, f"{predictor}.file"),
        "density": (fitted_grid.DENSITY_FILE, density, {predictor: "ddim", grid: "fitted"}, f"{grid}.file"),
        "costs": (
            optimal_grid.PAIR_COSTS_FILE,
            {"times": levels, "first": costs, "costs": costs},
            {predictor: "ancestral", grid: "optimal", "sampling.steps": 3},
            f"{grid}.file",
        ),
        "moments": (
            variance.MOMENTS_FILE,
            moments,
            {predictor: "ancestral", name: "analytic"},
            f"{name}.file",
        ),
    }


def _replace(generator, array):
    """An array with one of its numbers replaced by one that should not be there."""
    array = np.array(array, float)
    flat = array.reshape(-1)
    if flat.size:
        odd = [np.nan, np.inf, -np.inf, -1.0, 0.0, 1e30, -1e30, 1e300, 1e-300, 2.0]
        flat[generator.integers(flat.size)] = odd[generator.integers(len(odd))]
    return array


# Each turns a sound array into another one.
ARRAYS = (
    _replace,
    _replace,
    lambda generator, a: a.astype(str),
    lambda generator, a: a.astype(complex),
    lambda generator, a: a > 0,
    lambda generator, a: np.array("text"),
    lambda generator, a: np.float64(1.0),
    lambda generator, a: a.astype("datetime64[s]"),
    lambda generator, a: a[..., None],
    lambda generator, a: a.reshape(-1),
    lambda generator, a: a[:0] if a.ndim else a,
    lambda generator, a: a[:1] if a.ndim else a,
    lambda generator, a: a[::-1] if a.ndim else -a,
    lambda generator, a: np.repeat(a, 2, axis=0) if a.ndim else a,
    lambda generator, a: a.astype(np.float16),
    lambda generator, a: -a,
    lambda generator, a: 1e6 * a,
)
ORIGINS = (
    "[" * 100_000,
    "3",
    "null",
    "[]",
    "{}",
    "not JSON",
    json.dumps({**ORIGIN, "sde": 3}),
    json.dumps({**ORIGIN, "sde": ["VP"]}),
    json.dumps({**ORIGIN, "parameters": {"a": 1}}),
    json.dumps({**ORIGIN, "variance": None, "step": "NaN"}),
    json.dumps({**ORIGIN, "sde": "VP\nEDM"}),
    '{"sde": NaN}',
)


def _write(path, members):
    """Writes an .npz file of arrays, or of bytes as they are."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if not isinstance(content, bytes):
                buffer = io.BytesIO()
                np.save(buffer, content)
                content = buffer.getvalue()
            archive.writestr(f"{name}.npy", content)


def _promising(shape, dtype="<f8"):
    """An .npy file whose header promises more than follows."""
    buffer = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + bytes(64)


def _damage(generator, path):
    """Cuts a file off or changes some of its bytes."""
    content = bytearray(path.read_bytes())
    if generator.random() < 0.3:
        content = content[: generator.integers(len(content))]
    else:
        for _ in range(generator.integers(1, 9)):
            content[generator.integers(len(content))] = generator.integers(256)
    path.write_bytes(bytes(content))


PROMISES = ((10**12,), (2**62, 2**62), (-1,), (), (3, 10**9))


def craft(generator, path, arrays):
    """Writes a file of a mode with something wrong in it, its checksum made right again where it can be."""
    arrays, origin, extra = dict(arrays), json.dumps(ORIGIN), {}
    name = list(arrays)[generator.integers(len(arrays))]
    kind = generator.random()
    if kind < 0.5:
        arrays[name] = ARRAYS[generator.integers(len(ARRAYS))](generator, arrays[name])
    elif kind < 0.65:
        origin = ORIGINS[generator.integers(len(ORIGINS))]
    elif kind < 0.75:
        extra[name] = _promising(PROMISES[generator.integers(len(PROMISES))])
    elif kind < 0.8:
        del arrays[name]
    elif kind < 0.85:
        extra[name] = bytes(generator.integers(0, 256, 100, dtype=np.uint8))
    try:
        total = checksum(arrays)
    except (TypeError, ValueError):  # of text and dates there is none
        total = "00000000"
    _write(path, {**arrays, "origin": np.array(origin), "checksum": np.array(total), **extra})
    if kind >= 0.85:
        _damage(generator, path)


def craft_images(generator, path):
    """Writes an .npz file of images and labels with something wrong in it."""
    images = generator.integers(0, 256, (8, 4, 4, 1), dtype=np.uint8)
    arrays = {"images": images, "labels": np.arange(8) % 3, "label_names": np.array(["a", "b", "c"])}
    name = list(arrays)[generator.integers(3)]
    odd = {
        "images": [
            np.float32(3), images[:0], images[:1], images[..., 0, 0], images.astype(float), images[:, :2],
        ],
        "labels": [
            3, np.arange(7), np.arange(8.0), -np.arange(8), np.arange(8) + 2**40,
            np.full(8, 2**63, np.uint64), np.array(list("abcdefgh")), np.zeros((8, 1), int),
            np.full(8, np.nan),
        ],
        "label_names": [3, np.array("a"), np.array([["a"]]), np.arange(3), np.array([b"a", b"b", b"c"]), []],
    }  # fmt: skip
    kind = generator.random()
    if kind < 0.6:
        arrays[name] = odd[name][generator.integers(len(odd[name]))]
    elif kind < 0.75:
        arrays[name] = _promising(PROMISES[generator.integers(len(PROMISES))], "|u1")
    elif kind < 0.8:
        arrays[name] = np.array([None, {}], object)
    _write(path, arrays)
    if kind >= 0.8:
        _damage(generator, path)


def run(seed, count, folder):
    """Reads `count` crafted files, by turns of every kind; returns how many were refused.

    Raises:
      trial.Fault: the first fault.
    """
    generator, refused, kinds = np.random.default_rng(seed), 0, sound()
    for i in range(count):
        path = folder / "crafted.npz"
        name = [*kinds, "images"][i % (len(kinds) + 1)]
        if name == "images":
            craft_images(generator, path)
            code, _ = trial.run(
                ["--config=configs/digits.py", "--mode=inspect", f"--config.data.source=npz:{path}"]
            )
        else:
            _, arrays, overrides, field = kinds[name]
            craft(generator, path, arrays)
            flags = [f"--config.{key}={value}" for key, value in {**overrides, field: path}.items()]
            code, _ = trial.run(["--config=configs/gaussian_mixture.py:ring", "--mode=coefficients", *flags])
        refused += code != 0
    return refused
