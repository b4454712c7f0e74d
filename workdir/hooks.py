"""What Python prints by itself when a thread or an object ends badly."""

import functools
import sys
import threading

from workdir.records import say


@functools.cache
def quiet_threads():
    """Installs, once in a process, what keeps failures that are dealt with elsewhere from printing a trace.

    - A reading of a checkpoint that Orbax abandons on an error ends later, without its event loop: nothing
      is printed of it. All else that nothing catches is printed as before.
    - TensorBoard's writer runs in a thread; what stops it (a full disk) stops the training loop as well:
      one line is printed.

    The command line calls this; a program that uses the modules may.
    """
    previous = sys.excepthook

    def uncaught(kind, error, trace):
        if str(error) != "Event loop is closed":
            previous(kind, error, trace)

    sys.excepthook = uncaught
    threading.excepthook = lambda failure: say(f"warning: {failure.thread.name}: {failure.exc_value}")
