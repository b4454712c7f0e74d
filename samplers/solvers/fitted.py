"""Solvers that --mode=calibrate fitted to a model: tables that are read, not formed."""

import dataclasses
from typing import ClassVar

from components import Contents, FileKind, Numbers
from samplers.table import Table
from samplers.tape import Solver

# K calls and what is remembered of H - 1 of them. A fitted solver adds no noise that depends on what a call
# found.
TABLE_FILE = FileKind(
    {
        "times": Numbers(("K",), low=0.0),
        "move": Numbers(("K", "H")),
        "noise": Numbers(("K",), low=0.0),
        "look": Numbers(("K", "H")),
        "record": Numbers(("K", 2)),
        "closing_move": Numbers(("H",)),
        "closing_noise": Numbers((), low=0.0),
    },
    mode="calibrate",
    lengths={"K": (1, 1000), "H": (2, 1000)},
)


def arrays_of(table):
    """The arrays of a float64 Table without columns of its variance, as TABLE_FILE lists them."""
    return {name: getattr(table, name) for name in TABLE_FILE.arrays}


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted(Solver):
    """A table that --mode=calibrate fitted to a model; it has its own steps and times.

    Attributes:
      file: Contents of what --mode=calibrate wrote.
    """

    default_grid: ClassVar[str | None] = None
    FILES: ClassVar[dict] = {"file": TABLE_FILE}
    file: Contents | None = None

    def __post_init__(self):
        if self.file is None:
            raise ValueError("needs the table that --mode=calibrate writes: set file=<workdir>/fitted_5.npz")

    def intervals(self, steps):
        return 1

    def refusal(self, sde, times):
        fitted_to = self.file.origin["sde"]
        if fitted_to != repr(sde):
            return f"was fitted to {fitted_to}, not to {sde!r}. Run --mode=calibrate for this process."
        latest = self.file.arrays["times"].max()
        if latest > sde.t_max:
            return (
                f"has a call at t = {latest:g}, beyond sde.t_max={sde.t_max:g}. Run --mode=calibrate again."
            )
        return None

    def walk(self, tape, sde, points):
        raise NotImplementedError("the table is read, not formed: see __call__")

    def __call__(self, sde, times, final_denoise=True):
        if not final_denoise:
            raise ValueError("ends with a denoising call; use sampling.final_denoise=True")
        return Table(**self.file.arrays)
