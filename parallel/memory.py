"""What memory can hold, and one line where it holds no more."""

import contextlib
import functools
import os
import re
from pathlib import Path

import jax

from components import UserError

GIB = 2**30


@functools.cache
def of_machine():
    """Bytes of memory that this process may use: the machine's, or its control group's where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path("/sys/fs/cgroup", name).read_text()))
    return total


@functools.cache
def of_devices():
    """Bytes of memory of all devices of this process; the machine's where they compute in that."""
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in jax.local_devices()]
    return of_machine() if None in limits else sum(limits)


def in_use():
    """{name: GiB} in use, and at most in use so far, of this process's first device; {} where it computes in
    the machine's memory.
    """
    found = jax.local_devices()[0].memory_stats() or {}
    names = {"bytes_in_use": "device_memory_gib", "peak_bytes_in_use": "device_memory_peak_gib"}
    return {name: found[key] / GIB for key, name in names.items() if key in found}


def too_large(what, needed, limit, **fields):
    """A line, if `needed` bytes are more than memory holds.

    Args:
      what: that needs them; limit: bytes there are.
      **fields: values by config field (dots written as __) that set the need, the first to change first.
    """
    if needed > limit:
        named = {name.replace("__", "."): value for name, value in fields.items() if value is not None}
        shown = ", ".join(f"{name}={value}" for name, value in named.items())
        yield (
            f"{shown}: {what} would take at least {needed / GIB:.3g} GiB of memory, and there are "
            f"{limit / GIB:.3g} GiB. Make {' or '.join(named)} smaller."
        )


def _reason(error):
    """What an error says of memory that ran out, in one line; None where it is of something else."""
    text = str(error).strip()
    if not isinstance(error, MemoryError) and not re.search(r"RESOURCE_EXHAUSTED|[Oo]ut of memory", text):
        return None
    wanted = re.search(r"allocat\w* (\d+) bytes|Unable to allocate ([\d.]+ \w+)", text)
    if not wanted:
        return "there is no more"
    return f"there are not {wanted[2] or f'{int(wanted[1]) / GIB:.3g} GiB'} more"


@contextlib.contextmanager
def guarded(what, *fields):
    """Makes one line of memory, of the host or a device, that ran out within the block or decorated function.

    Args:
      what: was being done; fields: of the config, which make it need less.

    Raises:
      UserError: names what was being done, and the fields.
    """
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise UserError(
            f"Out of memory while {what}: {reason}. Make {' or '.join(fields)} smaller."
        ) from error
