"""Flax's checkpoints, msgpack of nested dicts of arrays: the `checkpoint_N` of score_sde.

The form holds no code: what is neither a container, a number, text nor an array is refused by its reader.
"""

import stat
from pathlib import Path

import flax.serialization
import numpy as np

from importers.refusal import RefusedFile, shown, type_name


def starts(head):
    """Whether a file that begins with these bytes may be one: a msgpack map that is not empty.

    A pickle's first two bytes are 0x80 and a protocol, where msgpack has the empty map.
    """
    return bool(head) and (0x81 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF))


def read(path):
    """The nested dicts of NumPy arrays of a file.

    Raises:
      RefusedFile: it is missing, truncated, damaged, or of another form.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise RefusedFile(f"{path}: it is no regular file.")
        found = flax.serialization.msgpack_restore(Path(path).read_bytes())
    except OSError as error:
        raise RefusedFile(f"{path}: {error.strerror or 'it cannot be read'}.") from None
    except (ValueError, TypeError, KeyError, AttributeError, MemoryError) as error:
        raise RefusedFile(
            f"{path}: no whole checkpoint of Flax ({type_name(error)}: {shown(str(error))}): the file is "
            "truncated or damaged."
        ) from None
    _require_plain(path, found)
    return found


def _require_plain(path, thing):
    """Refuses what arrays may hold elsewhere: objects."""
    if isinstance(thing, dict):
        for value in thing.values():
            _require_plain(path, value)
    elif isinstance(thing, np.ndarray) and thing.dtype.hasobject:
        raise RefusedFile(f"{path}: an array of objects, which no checkpoint has.")
