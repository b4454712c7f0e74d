"""What Python prints by itself when a thread or an object ends badly."""

import sys
import threading
import warnings


def install():
    """Keeps failures that are dealt with elsewhere from printing a trace; main.py calls it, once.

    - A reading of a checkpoint that Orbax abandons on an error ends later, without its event loop: nothing
      is printed of it.
    - A thread that fails prints one line.
    - An open file of a full disk fails once more when it is deleted: nothing is printed of that.
    - A program that cannot be kept for the next time is compiled again then: nothing is printed of that.

    All else that nothing catches is printed as before.
    """
    uncaught, unraisable = sys.excepthook, sys.unraisablehook

    def abandoned(error):
        return str(error) == "Event loop is closed"

    def of_program(kind, error, trace):
        if not abandoned(error):
            uncaught(kind, error, trace)

    def of_object(failure):
        if not (abandoned(failure.exc_value) or isinstance(failure.exc_value, OSError)):
            unraisable(failure)

    def of_thread(failure):
        print(f"warning: {failure.thread.name}: {failure.exc_value}", file=sys.stderr)

    sys.excepthook, sys.unraisablehook, threading.excepthook = of_program, of_object, of_thread
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
