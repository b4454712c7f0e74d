"""How samples are drawn: a solver on a time grid becomes a table, one loop runs it.

A new solver is one class in a file of its own, and one line in samplers/solvers/__init__.py.
"""

from samplers.correctors import CORRECTORS
from samplers.create import create, create_audited, default_sampler, resolve
from samplers.sampler import Sampler
from samplers.solvers import SOLVERS
from samplers.table import Samples, Table, sample

__all__ = [
    "CORRECTORS",
    "SOLVERS",
    "Sampler",
    "Samples",
    "Table",
    "create",
    "create_audited",
    "default_sampler",
    "resolve",
    "sample",
]
