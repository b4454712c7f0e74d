"""The file of a classifier in a workdir: its parameters, a record of what it is, and a checksum of both."""

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from components import ConfigError
from workdir import archives, strict_json
from workdir.files import UNREADABLE, checksum, replacing


def write(path, params, record):
    """Writes the file, whole or not at all.

    Args:
      params: tree of arrays in nested dicts; record: JSON-able dict.
    """
    arrays = {f"params/{name}": np.asarray(leaf) for name, leaf in flatten_dict(params, sep="/").items()}
    arrays["record"] = np.array(strict_json.dumps(record))
    with replacing(path) as temporary:
        np.savez(temporary, **arrays, checksum=checksum(arrays))


def read(path):
    """(parameters, record) of the file, once it is whole.

    Raises:
      ConfigError: no such file, or a damaged one.
    """
    try:
        found = archives.read(path)
        if str(found.pop("checksum")) != checksum(found):
            raise ValueError("its arrays do not match their checksum")
        record = strict_json.loads(str(found.pop("record")))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file; --mode=import writes it, of a classifier of guided-diffusion."
        ) from None
    except (*UNREADABLE, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a classifier ({error}).") from error
    return unflatten_dict({n.removeprefix("params/"): leaf for n, leaf in found.items()}, sep="/"), record
