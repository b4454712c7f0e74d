"""Solvers that --mode=calibrate fitted to a model: tables that are read, not formed."""

import dataclasses
import json
import zlib
from typing import ClassVar

import jax
import numpy as np

from samplers.table import Table
from samplers.tape import Solver
from workdir.files import read_arrays

# What a file holds: a fitted solver adds no variance of its own.
COLUMNS = [field.name for field in dataclasses.fields(Table) if field.name != "spread"]


def save(path, table, sde, about):
    """Writes a float64 Table and what it belongs to."""
    about = json.dumps({**about, "sde": repr(sde)})
    digest = zlib.crc32(b"".join(np.ascontiguousarray(a).tobytes() for a in jax.tree.leaves(table)))
    arrays = {name: getattr(table, name) for name in COLUMNS}
    np.savez(path, about=about, digest=digest, **arrays)


def load(path):
    """(Table, dict of what it belongs to) of a file that `save` wrote.

    Raises:
      ValueError: no such file, or a damaged one.
    """
    arrays, about = read_arrays(path, [*COLUMNS, "digest"], "file", "calibrate")
    digest = int(arrays.pop("digest"))
    table = Table(**arrays)
    if zlib.crc32(b"".join(np.ascontiguousarray(a).tobytes() for a in jax.tree.leaves(table))) != digest:
        raise ValueError(f"{path} is damaged (its checksum differs); --mode=calibrate writes it anew")
    return table, about


@dataclasses.dataclass(frozen=True)
class Fitted(Solver):
    """A table that --mode=calibrate fitted to a model; it has its own steps and times.

    Attributes:
      file: path that --mode=calibrate wrote.
    """

    default_grid: ClassVar[str | None] = None
    file: str = ""

    def __post_init__(self):
        load(self.file)

    def intervals(self, steps):
        return 1

    def refusal(self, sde, times):
        _, about = load(self.file)
        if about["sde"] != repr(sde):
            return f"was fitted to {about['sde']}, not to {sde!r}. Run --mode=calibrate for this process."
        return None

    def walk(self, tape, sde, points):
        raise NotImplementedError("the table is read, not formed: see __call__")

    def __call__(self, sde, times, final_denoise=True):
        if not final_denoise:
            raise ValueError("ends with a denoising call; use sampling.final_denoise=True")
        return load(self.file)[0]
