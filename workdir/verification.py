"""Whether the arrays of a checkpoint are those that were saved, one by one, without the network they are of.

A record has under `checksums` the digest of every array, {item: {path: text}} (workdir/digests.py). Older
records have one CRC-32 an item there, {item: text}, which depends on how the arrays are nested: to compare it
takes a template.
"""

import dataclasses
import json
import zlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from workdir import storage
from workdir.digests import by_path, differences, digests
from workdir.files import checksum

RECORD = "record"
# In the name of the folder of a save that Orbax has not finished.
UNFINISHED = ".orbax-checkpoint-tmp"
# The object that Orbax writes last on a store, where it renames nothing.
COMMITTED = "commit_success.txt"


@dataclasses.dataclass(frozen=True)
class Damage:
    """What of a checkpoint is not as it was saved.

    Attributes:
      item: params, ema, optimizer or record.
      array: path of the array; None: the whole item.
      reason: a sentence without its end.
    """

    item: str
    array: str | None
    reason: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found of a checkpoint.

    Attributes:
      damages: Damages; none where it is as it was saved.
      arrays: the number of arrays that were read; remarks: on what could not be compared.
      record: its record, or None where that is damaged.
    """

    damages: list[Damage]
    arrays: int = 0
    remarks: list[str] = dataclasses.field(default_factory=list)
    record: dict | None = None


def reason(error):
    """The first line of an error's message; its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def of_orbax(error):
    """What of an error's message is for people: TensorStore nests one reading in the other, with all paths.

    >>> of_orbax(ValueError('DATA_LOSS: Error decoding: Error reading "a" in "/long/path": CRC mismatch'))
    'DATA_LOSS: Error decoding: ...: CRC mismatch'
    """
    parts = reason(error).split(": ")
    return ": ".join([*parts[:2], "...", parts[-1]] if len(parts) > 4 else parts)[:200]


def text_checksum(record):
    """CRC-32 of a record, without the one that stands in it, as hexadecimal text."""
    text = json.dumps({k: v for k, v in record.items() if k != "checksum"}, sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"


def is_finished(folder):
    """Whether the save into a folder named by a step has ended."""
    return not storage.on_store(folder) or (folder / COMMITTED).exists()


def read_record(folder):
    """The record of the checkpoint in a folder.

    Raises:
      ValueError, OSError: it is damaged.
    """
    record = json.loads(storage.read_text(storage.path(folder) / RECORD / "metadata"))
    if not isinstance(record, dict) or record.get("checksum") != text_checksum(record):
        raise ValueError("it does not match its checksum")
    if not isinstance(record.get("checksums"), dict):
        raise ValueError("it has no checksums of the arrays")
    return record


def wrong_arrays(found, recorded):
    """{path: sentence} of the arrays of a tree that are not those recorded; {"": sentence} of older records.

    Args:
      found: the item's tree; recorded: what the record has of it under `checksums`.
    """
    if isinstance(recorded, dict):
        return differences(digests(found), recorded)
    same = checksum(found) == recorded
    return {} if same else {"": "its arrays do not match their checksum"}


def unreadable(folder):
    """{path: reason} of the arrays of an item's folder that cannot be read; {"": reason}: none can."""
    return _one_by_one(folder)[1]


def told(wrong, most=3):
    """A line on the arrays of a dict {path: sentence}.

    >>> told({"a": "it is missing", "b": "it is missing"}, most=1)
    'a: it is missing; and 1 more of its arrays'
    """
    lines = [f"{path}: {sentence}" if path else sentence for path, sentence in list(wrong.items())[:most]]
    more = len(wrong) - len(lines)
    return "; ".join(lines + ([f"and {more} more of its arrays"] if more else []))


def _to_numpy(tree):
    """What reads arrays whole, though each was saved from several devices that are not here."""
    return jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)


def _one_by_one(folder):
    """({path: array}, {path: reason}) of an item whose arrays cannot be read at once."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        try:
            saved = jax.tree.map(lambda leaf: leaf, reader.metadata(folder).item_metadata.tree)
        except Exception:
            return {}, {"": "what describes its arrays cannot be read"}
        places, structure = jax.tree_util.tree_flatten_with_path(saved)
        arrays, wrong, to_numpy = {}, {}, _to_numpy(saved)
        for number, (place, leaf) in enumerate(places):
            path = jax.tree_util.keystr(place, simple=True, separator="/")
            chosen = [ocp.PLACEHOLDER] * len(places)
            chosen[number] = np.empty(leaf.shape, leaf.dtype)
            target = ocp.args.PyTreeRestore(item=structure.unflatten(chosen), restore_args=to_numpy)
            try:
                arrays[path] = by_path(reader.restore(folder, args=target))[path]
            except MemoryError:
                raise
            except Exception as error:
                wrong[path] = f"it cannot be read ({of_orbax(error)})"
        return arrays, wrong


def _read(folder, template):
    """(the tree of an item, {}), or ({path: array}, {path: reason}) where some cannot be read."""
    try:
        if template is None:
            with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
                description = reader.metadata(folder).item_metadata
                if description is None:
                    raise FileNotFoundError("it is missing")
                target = ocp.args.PyTreeRestore(restore_args=_to_numpy(description.tree))
                return reader.restore(folder, args=target), {}
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
            empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), template)
            return reader.restore(folder, args=ocp.args.StandardRestore(empty)), {}
    except MemoryError:
        raise
    except Exception as error:
        found, wrong = _one_by_one(folder)
        # Where each by itself can be read, or none, what is damaged is what holds them together.
        return found, wrong if wrong and "" not in wrong else {"": of_orbax(error)}


def verify(folder, template=None):
    """The Verdict of the checkpoint in a folder; nothing on disk is touched.

    Args:
      folder: of a step.
      template: () -> {item: tree of arrays or ShapeDtypeStructs}, for checkpoints without digests or with a
        damaged description of their arrays; None: the first cannot be checked beyond whether they can be
        read, the second are damaged.
    """
    folder = storage.path(folder)
    try:
        record = read_record(folder)
    except (OSError, ValueError, RecursionError) as error:
        return Verdict([Damage(RECORD, None, reason(error))])
    found, count, remarks = [], 0, []
    for item, recorded in record["checksums"].items():
        by_item = not isinstance(recorded, dict)
        target = template().get(item) if by_item and template else None
        tree, wrong = _read(folder / item, target)
        if wrong and not by_item and template and item in template():
            # A restart, which knows what to expect, does without Orbax's description of the arrays.
            whole, unread = _read(folder / item, template()[item])
            if not unread:
                tree, wrong = whole, {}
                if not differences(digests(tree), recorded):
                    remarks.append(
                        f"{item}: what describes its arrays is damaged, they are as they were saved"
                    )
        count += len(recorded if not by_item else jax.tree.leaves(tree))
        if "" in wrong:
            wrong = {"": wrong[""]}
        elif not by_item:
            wrong = differences(digests(tree), recorded) | wrong
        elif not wrong and target is not None:
            wrong = wrong_arrays(tree, recorded)
        elif not wrong:
            remarks.append(f"{item} can be read, and was saved without digests of its arrays")
        found += [Damage(item, path or None, sentence) for path, sentence in wrong.items()]
    return Verdict(found, count, remarks, record)
