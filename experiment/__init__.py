"""One experiment as objects: made from a config (`create`) or from the folder of a run (`load`)."""

from experiment.create import (
    Experiment,
    create,
    data_range,
    data_shape,
    data_std,
    default_of,
    mixture_case,
    problems,
    read_files,
    refused_numbers,
    resolved,
)
from experiment.load import Run, load, require_run

__all__ = [
    "Experiment",
    "Run",
    "create",
    "data_range",
    "data_shape",
    "data_std",
    "default_of",
    "load",
    "mixture_case",
    "problems",
    "read_files",
    "refused_numbers",
    "require_run",
    "resolved",
]
