"""How long the instructions of a compiled program took, from a trace of JAX's profiler."""

import contextlib
from pathlib import Path

import jax

from parallel import program_text

# Lines of a device's events that hold one event an instruction, by what their names begin with.
LINES = ("stream", "xla ops")


@contextlib.contextmanager
def recorded(folder):
    """Writes a trace of the block into a folder, without Python's own calls, which would slow it."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    jax.profiler.start_trace(str(folder), profiler_options=options)
    try:
        yield
    finally:
        jax.profiler.stop_trace()


def times(folder, text, calls):
    """Rows of a program's instructions that the newest trace in a folder holds, the longest first.

    On a CPU instructions run beside each other, so that their times may add up to more than the step's.

    Args:
      text: of the compiled program; calls: by which times are divided, of all devices.

    Returns:
      list of {"name", "kind" (program_text.KINDS), "place", "seconds", "calls"}.
    """
    known, found = program_text.belongings(text), {}
    newest = max(Path(folder).rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    for name, seconds in _events(newest):
        if name in known:
            row = found.setdefault(name, [0.0, 0])
            row[0] += seconds / calls
            row[1] += 1 / calls
    rows = [
        {"name": name, "kind": known[name][0], "place": known[name][1], "seconds": seconds, "calls": often}
        for name, (seconds, often) in found.items()
    ]
    return sorted(rows, key=lambda row: -row["seconds"])


def _events(path):
    """(instruction, seconds) of all that a trace has of instructions."""
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        on_device = plane.name.startswith(("/device:GPU", "/device:TPU"))
        if not on_device and plane.name != "/host:CPU":
            continue
        begun, ended = [], {}
        for line in plane.lines:
            if on_device and not line.name.lower().startswith(LINES):
                continue
            for event in line.events:
                stats = {str(name): value for name, value in event.stats}
                if on_device:
                    name = stats.get("hlo_op") or event.name.partition(" = ")[0].lstrip("%")
                    yield str(name), event.duration_ns * 1e-9
                elif "hlo_op" in stats:
                    # What a CPU hands to its threads ends in an event of its own, by the same number.
                    begun.append((stats.get("_p"), stats["hlo_op"], event.start_ns, event.end_ns))
                elif event.name.startswith("end: "):
                    ended[stats.get("_c")] = event.end_ns
        for number, name, start, end in begun:
            yield str(name), (max(end, ended.get(number, end)) - start) * 1e-9
