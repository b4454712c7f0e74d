"""Fixtures of the tests of this folder."""

from tests.workdir.stores import memory_store  # noqa: F401
