"""One command of a fuzzer, in this process: what must hold of it whatever it is given."""

import contextlib
import io
import re
import signal

import main

SECONDS = 60


class Fault(Exception):
    """A command that ended in a trace, hung, or said something else than one line for each refusal."""


@contextlib.contextmanager
def _limited(seconds):
    """Raises TimeoutError in a block that takes longer. In the main thread alone."""

    def late(*_):
        raise TimeoutError(f"not done after {seconds} s")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def run(arguments):
    """Runs a command line and returns (exit code, the lines with which it refuses).

    Raises:
      Fault: with the command, so that it can be tried again.
    """
    out, error = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), _limited(SECONDS):
            try:
                code = main.main(["main.py", *arguments])
            except SystemExit as stop:
                code = stop.code
    except Exception as trace:
        raise Fault(f"{type(trace).__name__}: {trace}\n  {arguments}") from trace
    said = [*out.getvalue().splitlines(), *error.getvalue().splitlines()]
    refused = [line for line in said if line.startswith(("error: ", "refused: "))]
    if code not in (0, 1, 2) or (code == 2) != bool(refused and code != 1) or (code == 1 and not refused):
        raise Fault(f"exit code {code} with {refused}\n  {arguments}")
    unnamed = [line for line in refused if not re.search(r"--\w+|\w+\.\w+|seed", line)]
    if unnamed:
        raise Fault(f"names no field or flag: {unnamed}\n  {arguments}")
    return code, refused
