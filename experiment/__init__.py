"""One experiment as objects: made from a config (`create`) or from the folder of a run (`load`)."""

from experiment.classifier import Classifier, load_classifier
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
from experiment.load import Run, load, require_average, require_run
from experiment.run_data import RunData, data_of, open_data, open_splits

__all__ = [
    "Classifier",
    "Experiment",
    "Run",
    "RunData",
    "create",
    "data_of",
    "data_range",
    "data_shape",
    "data_std",
    "default_of",
    "load",
    "load_classifier",
    "mixture_case",
    "open_data",
    "open_splits",
    "problems",
    "read_files",
    "refused_numbers",
    "require_average",
    "require_run",
    "resolved",
]
