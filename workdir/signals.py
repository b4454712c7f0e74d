"""SIGTERM and Ctrl-C: how a command ends by them.

A thread waits for them, because the main thread may be in compiled code for minutes; and nothing is raised
where the main thread happens to be, because libraries in the middle of an import or a compilation answer an
exception with a trace or a crash. The thread says whether the same command goes on, and ends the process at
once: a command loses no more by that than by `kill -9`. A training loop asks to be told instead
(`StopRequest`) and saves first.
"""

import contextlib
import os
import signal
import sys
import threading

NUMBERS = (signal.SIGINT, signal.SIGTERM)

_requests = []
_outlook = "begins anew"


def install():
    """Lets a thread of its own answer the signals of this process; to be called before other threads start.

    What is ignored, as Ctrl-C is by what a shell runs in the background, stays so.
    """
    numbers = {number for number in NUMBERS if signal.getsignal(number) is not signal.SIG_IGN}
    # Every later thread inherits the mask, so that the signals wait for the one that asks for them.
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    threading.Thread(target=_answer, args=(numbers,), name="signals", daemon=True).start()


def expect(outlook):
    """Sets what is said of the same command, should this one be stopped: "goes on where it stopped", ..."""
    global _outlook
    _outlook = outlook


def farewell(name):
    """The line with which a command ends by the signal of this name."""
    # Only now: until `install` is called, nothing may take long.
    import shlex

    return f"stopped by {name}. The same command {_outlook}: {shlex.join(['python', *sys.orig_argv[1:]])}"


def _answer(numbers):
    while True:
        number = signal.sigwait(numbers)
        if not (_requests and _requests[-1].take(number)):
            _write(farewell(signal.Signals(number).name))
            # Nothing is cleaned up, for that would wait for, or crash in, what other threads are doing.
            os._exit(128 + number)


def _write(line):
    """A line on standard error, whatever another thread is writing."""
    start = "\n" if os.isatty(2) else ""
    # Where nobody reads any more, the signal is answered all the same.
    with contextlib.suppress(OSError):
        os.write(2, f"{start}{line}\n".encode())


class StopRequest:
    """Remembers a signal until a loop has a state to save, while its block runs; a second one ends at once.

    Attributes:
      signal: name of the signal, or None.
    """

    def __init__(self):
        self.signal = None
        self._previous = {}

    def __enter__(self):
        # These are called where nobody has called `install`: in a program that uses the modules.
        for number in NUMBERS:
            self._previous[number] = signal.signal(number, self._handle)
        _requests.append(self)
        return self

    def __exit__(self, *_):
        _requests.remove(self)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def take(self, number):
        """Whether this signal is the first, which is remembered."""
        first = self.signal is None
        if first:
            self.signal = signal.Signals(number).name
            _write(f"{self.signal}: saving after the step at hand; a second one stops at once")
        return first

    def _handle(self, number, frame):
        if not self.take(number):
            raise KeyboardInterrupt
