"""How every reader here opens a file: nothing is waited for, and a pipe or a device is never read."""

import os
import stat

from importers.refusal import RefusedFile


def opened(path):
    """A file opened for reading bytes.

    Raises:
      RefusedFile: there is none, it may not be read, or it is no regular file.
    """
    try:
        # Without O_NONBLOCK to open a pipe waits for whoever writes into it.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except FileNotFoundError:
        raise RefusedFile(f"{path}: there is no such file.") from None
    except IsADirectoryError:
        raise RefusedFile(f"{path}: it is no regular file.") from None
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise RefusedFile(f"{path}: {getattr(error, 'strerror', None) or 'it cannot be read'}.") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise RefusedFile(f"{path}: it is no regular file.")
    return file
