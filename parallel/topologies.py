"""Devices that need not be there: those of a TPU slice, for which programs are compiled ahead of time."""

import contextlib
import importlib.util
import math
import os

import jax
from jax.experimental import topologies
from jax.experimental.compilation_cache import compilation_cache

from components import UserError, closest
from parallel.chips import CHIPS, has_slice, slices

LOCAL = "local"
# Chips of a virtual machine of a slice, at most.
HOST = 4
# libtpu takes a chip's two cores for one device where it is told to; on a v4 it has to be told.
_OPTIONS = {"v4": {"chip_config_name": "megacore"}}
# Without them libtpu asks a metadata server that only Google's machines have, and serves one process alone.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def known():
    """The names of TPUs that have topologies."""
    return [name for name, chip in CHIPS.items() if chip.most]


def refusals(field, topology):
    """Lines about a topology, "local" or "v5e:4x4", in a config field; no device is asked for."""
    name, _, shape = topology.partition(":")
    if topology == LOCAL:
        return
    if name not in known():
        yield (
            f'{field}="{topology}" is unknown.{closest(name, [LOCAL, *known()])} Known: {LOCAL}, and '
            f"{', '.join(known())} with a slice: v5e:4x4."
        )
    elif not has_slice(name, shape):
        yield f'{field}="{topology}": there is no such slice of {name}. Known: {slices(name)}.'


def count(topology):
    """How many devices a topology has that `refusals` does not refuse."""
    if topology == LOCAL:
        return jax.device_count()
    return math.prod(map(int, topology.partition(":")[2].split("x")))


def count_of_host(topology):
    """How many of them belong to one process."""
    return jax.local_device_count() if topology == LOCAL else min(count(topology), HOST)


def require_compiler(field, topology):
    """Raises UserError where programs for a topology cannot be compiled."""
    if topology != LOCAL and importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"{field}={topology} needs libtpu, which compiles for TPUs that are not there: pip install "
            "-r requirements/tpu.txt"
        )


def devices(topology):
    """The devices of a topology that `refusals` does not refuse, in the order of a mesh.

    Raises:
      UserError: libtpu does not know it.
    """
    if topology == LOCAL:
        return jax.devices()
    for name, value in _ENVIRONMENT.items():
        # On a machine without TPUs libtpu may have put a warning there.
        if os.environ.get(name, "WARNING").startswith("WARNING"):
            os.environ[name] = value
    options = _OPTIONS.get(topology.partition(":")[0], {})
    try:
        return list(topologies.get_topology_desc(topology, platform="tpu", **options).devices)
    except (jax.errors.JaxRuntimeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"The installed libtpu has no topology {topology}: {reason}") from None


@contextlib.contextmanager
def uncached():
    """Leaves the compilation cache alone within the block: JAX writes programs for absent devices into it,
    and fails to read them.
    """
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
