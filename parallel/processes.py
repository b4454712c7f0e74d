"""Several processes: how they find each other, who writes, and waiting for each other."""

import contextlib
import json
import os
import socket
import sys
import threading
import time

import jax
import numpy as np

from components import ConfigError, UserError

AUTOMATIC = "auto"
# After so long without a sign of life a process is given up, and JAX ends the others.
SECONDS_OF_SILENCE = 60
# So long a process waits for the others at the beginning, and says so every so many seconds.
SECONDS_TO_JOIN, SECONDS_TO_SAY = 300, 20
# So long the first process waits, when all end with an error, for the others to say theirs.
SECONDS_TO_FOLLOW = 2


def join(coordinator, processes=None, process=None):
    """Makes this process one of several that run the same command; to be called before any device is used.

    Args:
      coordinator: HOST:PORT of process 0; "auto": what SLURM, Open MPI, a TPU pod or GKE says, as JAX
        detects it.
      processes, process: how many there are, and which this one is, as texts; None where "auto" tells.

    Raises:
      ConfigError: flags that do not go together, or nothing is detected.
      UserError: the others were not found.
    """
    options = {}
    if coordinator == AUTOMATIC:
        if processes or process:
            raise ConfigError(f"--coordinator={AUTOMATIC} finds --processes and --process by itself.")
    else:
        host, _, port = coordinator.rpartition(":")
        if not (host and port.isdigit() and 0 < int(port) < 2**16):
            raise ConfigError(
                f"--coordinator={coordinator} must be HOST:PORT of process 0, or {AUTOMATIC} under SLURM, "
                "Open MPI, on a TPU pod or GKE."
            )
        count, index = _whole("processes", processes), _whole("process", process)
        if count < 1:
            raise ConfigError(f"--processes={count} must be at least 1.")
        if index >= count:
            raise ConfigError(f"--process={index} must lie in 0..{count - 1}, with --processes={count}.")
        options = {"coordinator_address": coordinator, "num_processes": count, "process_id": index}
    own = f"process {process} of {processes}" if options else "this process"
    unknown = "" if not options or _is_known(host) else f" (no address of {host} is known here by now)"
    try:
        with _waiting(f"{own} waits for the first process to answer at {coordinator}{unknown}"):
            jax.distributed.initialize(
                **options,
                initialization_timeout=SECONDS_TO_JOIN,
                heartbeat_timeout_seconds=SECONDS_OF_SILENCE,
            )
            if jax.process_count() > 1 and is_first():
                # JAX ends a process that has lost another with a trace, and asks nobody.
                print(
                    f"{jax.process_count()} processes found each other; should one die, JAX ends the others "
                    f"within {SECONDS_OF_SILENCE} seconds: start all again with the same commands",
                    file=sys.stderr,
                    flush=True,
                )
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        if coordinator == AUTOMATIC:
            raise ConfigError(
                f"--coordinator={AUTOMATIC}: no cluster was detected ({reason}). Give "
                "--coordinator=HOST:PORT, --processes and --process."
            ) from None
        raise UserError(
            f"The {options['num_processes']} processes did not find each other at {coordinator}: {reason}. "
            "Start all of them with the same --coordinator, each with its own --process."
        ) from None


def _is_known(host):
    """Whether a host has an address; that of a pod may come later."""
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def _whole(flag, text):
    if text is None:
        raise ConfigError(f"--coordinator needs --{flag}. Example: --processes=2 --process=0.")
    if not text.isdigit():
        raise ConfigError(f"--{flag}={text} must be a whole number, not below 0.")
    return int(text)


@contextlib.contextmanager
def _waiting(line):
    """Prints the line, with the time, every SECONDS_TO_SAY within the block."""
    over = threading.Event()

    def say():
        waited = 0
        while not over.wait(SECONDS_TO_SAY):
            waited += SECONDS_TO_SAY
            print(f"{line}; {waited} of at most {SECONDS_TO_JOIN} seconds", file=sys.stderr, flush=True)

    threading.Thread(target=say, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def require_same(settings):
    """Stops all processes where one was started with other settings than process 0; they meet here.

    Args:
      settings: {name: value that JSON can hold, or text can} of all that must be the same, by the same names
        on all.

    Raises:
      ConfigError: on a process whose settings differ, which and how; elsewhere, which processes those are.
    """
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    own = {name: json.dumps(value, default=str) for name, value in settings.items()}
    first = of_first(own)
    names = [name for name in dict.fromkeys([*first, *own]) if first.get(name) != own.get(name)]
    differs = np.flatnonzero(multihost_utils.process_allgather(np.bool_(bool(names))))
    if names:
        shown = "; ".join(f"{name}={own.get(name)}, there {first.get(name)}" for name in names[:3])
        more = f"; and {len(names) - 3} more" if len(names) > 3 else ""
        raise ConfigError(
            f"process {jax.process_index()} was started with another command than process 0: {shown}{more}. "
            "Give all processes the same --mode, --workdir, --config and fields."
        )
    if differs.size:
        raise ConfigError(
            f"process {', '.join(map(str, differs))} was started with another command than process 0, and "
            "says how it differs. Give all processes the same --mode, --workdir, --config and fields."
        )


def of_first(value):
    """The value of process 0, one that JSON can hold; all processes meet here."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    sent = multihost_utils.broadcast_one_to_all(np.resize(text, size).astype(np.int32))
    return json.loads(bytes(np.asarray(sent).astype(np.uint8)))


def is_silent():
    """Whether this process leaves it to process 0 to print."""
    return jax.distributed.is_initialized() and jax.process_index() != 0


def on_any(flag):
    """Whether a flag is set on any process; all have to ask at the same time."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.bool_(flag)).any())


def summed(numbers):
    """Sums modulo 2^64 over all processes, which meet here; of none at once.

    Args:
      numbers: list of whole numbers below 2^64, as many on every process.
    """
    if jax.process_count() == 1 or not numbers:
        return numbers
    from jax.experimental import multihost_utils

    # JAX has no numbers of 64 bits here.
    halves = np.array(numbers, np.uint64).view(np.uint32)
    found = np.ascontiguousarray(multihost_utils.process_allgather(halves)).view(np.uint64)
    return [int(total) for total in found.sum(axis=0)]


@contextlib.contextmanager
def lost(how_to_go_on):
    """Makes one line of the loss of another process within the block.

    Args:
      how_to_go_on: a sentence.

    Raises:
      UserError: an error of the devices in a run of several processes.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        text = str(error)
        if jax.process_count() == 1 or not any(word in text for word in _OF_CONNECTIONS):
            raise
        raise UserError(
            f"process {jax.process_index()} of {jax.process_count()}: another process of this run has ended "
            f"or cannot be reached ({text.strip().splitlines()[0][:200]}). {how_to_go_on}"
        ) from None


_OF_CONNECTIONS = (
    *("Gloo", "gloo", "Connection", "connection", "heartbeat", "UNAVAILABLE", "DEADLINE_EXCEEDED", "NCCL"),
    *("coordination", "preempted", "ABORTED", "CANCELLED"),
)


def leave(exit_code):
    """Ends this process at once if it is one of several: others that hang are not waited for."""
    if exit_code and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        if is_first():
            # Its end ends the others, whose own message may be under way.
            time.sleep(SECONDS_TO_FOLLOW)
        os._exit(exit_code)


def is_first():
    """Whether this is process 0, which alone writes results, records and pictures, and prints reports."""
    return jax.process_index() == 0


def wait_for_all(name):
    """Returns when every process has come here; at once where there is one alone."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def decided_by_first(action):
    """Calls `action()` on process 0 alone; if it raises there, every process stops.

    Raises:
      Exception: on process 0, what the action raised.
      UserError: elsewhere, that it raised.
    """
    if jax.process_count() == 1:
        action()
        return
    from jax.experimental import multihost_utils

    error = None
    if is_first():
        try:
            action()
        except Exception as raised:
            error = raised
    refused = bool(multihost_utils.broadcast_one_to_all(np.bool_(error is not None)))
    if error is not None:
        raise error
    if refused:
        raise UserError("process 0 was refused, see its message; this process stops with it")
