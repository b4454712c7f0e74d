"""What is fed: random-access image sources, and the order in which training reads them."""

from data.create import create, hold, identity, refusals, resolve, transform, unused_values
from data.sources import SOURCES, parse

__all__ = [
    "SOURCES",
    "create",
    "hold",
    "identity",
    "parse",
    "refusals",
    "resolve",
    "transform",
    "unused_values",
]
