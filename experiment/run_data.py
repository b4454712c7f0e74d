"""The data of a run: its splits, compared with what the model was trained on."""

import dataclasses

import data
from data.source import Source
from workdir.compatibility import data_changes, require_same_data, trained_on
from workdir.records import say


def open_splits(config):
    """{"train": Source, "test": Source} of the data of a config; no image file is decoded yet.

    Raises:
      ConfigError, DataError: see `data.create`.
    """
    train = data.create(config.data, "train", decoded=False)
    # What the training split knows holds for both.
    settings = config.data.copy_and_resolve_references()
    data.resolve(settings, train)
    return {"train": train, "test": data.create(settings, "test", train=train)}


# Of weights that --mode=import read: their file says nothing of the data.
UNKNOWN = "the weights were imported, and whether held-out images were trained on is not known"


def changes(config, sources, record, what="the run", latest=False, contents=True):
    """What the data has changed since a model was trained, as far as `data.allow_changed` allows it.

    Args:
      config: the whole config, its subtree `data` resolved.
      sources: of `open_splits`.
      record: of the model's checkpoint.
      what: was trained, for the message.
      latest: compare with the last data that it was trained on alone: for going on with its training.
      contents: False compares only what shows without reading the images.

    Returns:
      (identity of the data, lines that say what has changed).

    Raises:
      ConfigError: names what has changed.
    """
    identity = data.identity(config.data, sources, contents)
    found = data_changes(record, config, identity, latest)
    require_same_data(found, config, what)
    before = trained_on(record)
    if "imported" in record and None in (before[-1:] if latest else before):
        found = [UNKNOWN, *found]
    return identity, found


@dataclasses.dataclass(frozen=True, eq=False)
class RunData:
    """Data that agrees with what a model was trained on, or is allowed not to.

    Attributes:
      train, test: its splits; images of `train` are in memory where they fit.
      identity: what tells it from other data, for JSON.
      changes: lines on how it differs from what the model was trained on; empty where it does not.
    """

    train: Source
    test: Source
    identity: dict
    changes: list[str]

    def record(self):
        """What results on this data say about it, for JSON."""
        return {"identity": self.identity, "changed_since_training": self.changes}


def open_data(config, sources, record=None, what="the run", latest=False, held=True):
    """The RunData of a config, and its notes said; what shows without decoding is refused before decoding.

    Args:
      config, sources, what, latest: see `changes`.
      record: of the model's checkpoint; None where there is no model yet.
      held: whether a training split that fits into memory is decoded at once.

    Raises:
      ConfigError: the data has changed since the model was trained; names how.
      DataError: images that cannot be read.
    """
    if record is not None:
        changes(config, sources, record, what, latest, contents=False)
    for note in dict.fromkeys(note for source in sources.values() for note in source.notes):
        say(f"data: {note}")
    if held:
        sources = {**sources, "train": data.hold(config.data, sources["train"])}
    found = []
    if record is None:
        identity = data.identity(config.data, sources)
    else:
        identity, found = changes(config, sources, record, what, latest)
    if UNKNOWN in found:
        say(f"note: {UNKNOWN}")
    elif found:
        say(f"warning: {what} was trained on other data, as data.allow_changed allows: {'; '.join(found)}")
    return RunData(**sources, identity=identity, changes=found)


def data_of(run, held=True):
    """The RunData of a loaded Run whose data is no mixture; see `open_data`."""
    return open_data(run.config, open_splits(run.config), run.checkpoint, held=held)
