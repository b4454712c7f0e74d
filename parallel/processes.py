"""Several processes: waiting for each other, and stopping by a signal."""

import signal

import jax


def wait_for_all(name):
    """Returns when every process has come here; at once where there is one alone."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


class StopRequest:
    """Remembers SIGTERM and Ctrl-C until the loop has a state to save; a second Ctrl-C stops at once."""

    def __init__(self):
        self.signal = None
        self._previous = {}

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number, frame):
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name
