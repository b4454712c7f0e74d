"""Devices that are not there, and what is said of those that cannot be."""

import importlib.util
import types

import pytest

from components import UserError
from parallel import topologies
from parallel.chips import CHIPS, has_slice, of_device


def test_the_devices_at_hand_are_a_topology():
    assert len(topologies.devices("local")) == topologies.count("local") == 8
    assert not [*topologies.refusals("plan.topology", "local")]


@pytest.mark.parametrize(
    ("topology", "words"),
    [
        ("v9:2x2", ["v9:2x2", "local", "v4, v5e, v5p, v6e"]),
        ("v5", ["unknown", "v5e"]),
        ("h100:8", ["unknown"]),
        ("v5e:3x3", ["no such slice", "4x4", "16x16"]),
        ("v5e", ["no such slice"]),
        ("v5p:4x4", ["no such slice", "2x2x1", "AxBxC"]),
        ("v5p:axbxc", ["no such slice"]),
    ],
)
def test_a_topology_that_cannot_be_is_refused_with_those_that_can(topology, words):
    (line,) = topologies.refusals("plan.topology", topology)
    assert line.startswith("plan.topology=") and all(word in line for word in words)


def test_a_chip_is_known_by_its_device():
    for kind, name in (("TPU v5 lite", "v5e"), ("TPU v5p", "v5p"), ("NVIDIA H200", "h200")):
        assert of_device(types.SimpleNamespace(device_kind=kind)) is CHIPS[name]
    assert of_device(types.SimpleNamespace(device_kind="cpu")) is None


def test_slices_of_cubes_have_their_sides_in_order():
    assert has_slice("v4", "4x4x8") and has_slice("v5p", "16x16x16")
    assert not any(has_slice("v4", shape) for shape in ("4x8x4", "4x4x6", "0x4x4", "16x16x32", "4x4x4x4"))


def test_without_libtpu_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    topologies.require_compiler("plan.topology", "local")
    with pytest.raises(UserError, match=r"libtpu.*requirements/tpu\.txt"):
        topologies.require_compiler("plan.topology", "v5e:2x2")


def test_programs_for_absent_devices_leave_the_cache_alone():
    import jax

    before = jax.config.jax_enable_compilation_cache
    with topologies.uncached():
        assert not jax.config.jax_enable_compilation_cache
    assert jax.config.jax_enable_compilation_cache == before
