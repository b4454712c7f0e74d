"""A disk that is at fault, rather than the program: how that is told, and how a run goes on without it."""

import contextlib
import errno

# It is full, over a quota or limit, not writable, or failing.
OF_THE_DISK = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EIO,
    errno.ESTALE,
)


@contextlib.contextmanager
def unheard():
    """A block that prints: where the disk does not take what is printed, nobody is told, and all goes on."""
    try:
        yield
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise


@contextlib.contextmanager
def left_out(what, say):
    """A block that writes what a run can go on without: what the disk refuses is said, and is no error.

        >>> with left_out("samples.png", print) as refused:
        ...     raise OSError(errno.ENOSPC, "No space left on device")
        warning: samples.png could not be written (No space left on device), and is left out
        >>> len(refused)
        1

    Args:
      what: is written; say: takes a line.

    Yields:
      a list that takes the error.
    """
    refused = []
    try:
        yield refused
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        refused.append(error)
        say(f"warning: {what} could not be written ({error.strerror}), and is left out")
