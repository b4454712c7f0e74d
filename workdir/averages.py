"""Averaged parameters in files of their own, beside the checkpoints: snapshots, and what is made of them.

A file is an .npz with the arrays of one or several averages, `<average>/<names of the parameter>`, the record
of the checkpoint of that step (config, provenance, identity of the data) and a checksum of the arrays. A
snapshot, `ema_snapshots/0001000.npz` in the workdir, holds the power-function averages of that step.
"""

import re

import jax
import numpy as np

from components import ConfigError
from workdir import archives, storage, strict_json
from workdir.compatibility import OF_THE_MODEL, config_changes
from workdir.files import UNREADABLE, checksum, replacing

FOLDER = "ema_snapshots"
# Of a file that holds one average.
SINGLE = "average"
_OF_PARAMETERS = tuple(field for field in OF_THE_MODEL if not field.startswith("ema."))


def _named(name, tree):
    """{name of the array in the file: array} of one average."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {f"{name}/{jax.tree_util.keystr(path, simple=True, separator='/')}": leaf for path, leaf in leaves}


def write(path, averages, record):
    """Writes a file of averages.

    Args:
      averages: dict from name to a tree of arrays; record: of Checkpoints.record.
    """
    arrays = {}
    for name, tree in averages.items():
        arrays |= jax.tree.map(np.asarray, _named(name, tree))
    np.savez(path, **arrays, record=strict_json.dumps(record), checksum=checksum(arrays))


def read(path, names, params, config, field):
    """The averages of a file, once they are whole and fit the config.

    Args:
      names: of the averages.
      params: tree of arrays or ShapeDtypeStructs like the parameters.
      config: today's whole config, resolved.
      field: what names the file, for messages.

    Returns:
      (dict from name to a tree of NumPy arrays, record).

    Raises:
      ConfigError: no such file, a damaged one, or averages of another model.
    """
    templates = {name: _named(name, params) for name in names}
    try:
        found, record = _whole(path)
        changes = config_changes(record["config"], config, _OF_PARAMETERS)
    except FileNotFoundError:
        raise ConfigError(f'{field}="{path}": there is no such file; --mode=ema writes it.') from None
    except (*UNREADABLE, RecursionError) as error:
        raise ConfigError(f'{field}="{path}" cannot be read as a file of averages ({error}).') from error
    if changes:
        raise ConfigError(f'{field}="{path}" is of another model: {"; ".join(changes)}.')
    for template in templates.values():
        for name, leaf in template.items():
            if name not in found or found[name].shape != leaf.shape or found[name].dtype != leaf.dtype:
                raise ConfigError(
                    f'{field}="{path}" has no array {name} of shape {leaf.shape} and {leaf.dtype}.'
                )
    structure = jax.tree.structure(params)
    trees = {name: structure.unflatten([found[n] for n in t]) for name, t in templates.items()}
    return trees, record


def _whole(path):
    """(arrays by name, record) of a file; raises one of UNREADABLE, or RecursionError, if it is damaged."""
    found = archives.read(path)
    record = strict_json.loads(str(found.pop("record")))
    written = str(found.pop("checksum"))
    if checksum(found) != written:
        raise ValueError("its arrays do not match their checksum")
    _ = record["step"], record["provenance"], record["config"]
    return found, record


def damage(path):
    """What is wrong with a file of averages, in a few words; "" where it is whole."""
    try:
        _whole(path)
    except (*UNREADABLE, RecursionError) as error:
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return ""


def files(workdir):
    """Paths of all files of averages in a workdir: snapshots, and what --mode=ema made of them."""
    return [*snapshots(workdir).values(), *sorted(storage.path(workdir).glob("ema_*.npz"))]


def save_snapshot(workdir, averages, record):
    """Writes the snapshot of the record's step, whole or not at all, in place of an earlier one."""
    folder = storage.path(workdir) / FOLDER
    storage.make_folder(folder)
    with replacing(folder / f"{record['step']:07d}.npz") as temporary:
        write(temporary, averages, record)


def snapshots(workdir):
    """{step: Path} of the snapshots in a workdir, the earliest first."""
    paths = sorted((storage.path(workdir) / FOLDER).glob("*.npz"))
    found = {int(path.stem): path for path in paths if re.fullmatch(r"\d+", path.stem)}
    return dict(sorted(found.items()))
