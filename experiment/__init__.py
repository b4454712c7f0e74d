"""One experiment as objects: made from a config (`create`) or from the folder of a run (`load`)."""

from experiment.create import Experiment, create, data_range, mixture_case, resolve
from experiment.load import load

__all__ = ["Experiment", "create", "data_range", "load", "mixture_case", "resolve"]
