"""What Python prints by itself of threads, objects and programs that end badly."""

import subprocess
import sys
import textwrap

from tests.conftest import ROOT


def _printed(code):
    """Standard error of a program that has called `hooks.install`."""
    code = "from workdir import hooks\nhooks.install()\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stderr


def test_a_thread_that_fails_prints_one_line():
    code = """
        import threading
        thread = threading.Thread(target=lambda: 1 / 0, name="writer")
        thread.start()
        thread.join()
    """
    assert _printed(code) == "warning: writer: division by zero\n"


def test_what_is_dealt_with_elsewhere_is_not_printed_once_more():
    code = """
        import warnings
        class Ends:
            def __init__(self, error):
                self.error = error
            def __del__(self):
                raise self.error
        Ends(OSError(28, "No space left on device"))
        Ends(RuntimeError("Event loop is closed"))
        warnings.warn("Error writing persistent compilation cache entry for 'jit_f': OSError")
        raise RuntimeError("Event loop is closed")
    """
    assert _printed(code) == ""


def test_all_else_is_printed_as_python_does():
    code = """
        class Ends:
            def __del__(self):
                raise ValueError("of an object")
        Ends()
        raise ValueError("of the program")
    """
    printed = _printed(code)
    assert "Exception ignored in" in printed and "ValueError: of an object" in printed
    assert printed.splitlines()[-1] == "ValueError: of the program"
