"""Checkpoints with Orbax: asynchronous, verified on reading, with an older one to fall back on.

A checkpoint holds the items `params`, `ema`, `optimizer` (step and optax state) and
`record` (config, provenance, identity of the data and a checksum of each item). Orbax does not notice a
flipped bit in an array file, so the checksums are compared on every restore; what does
not match is set aside and the next older checkpoint taken. Where a training run deletes what
is just being read, nothing is damaged, and its newest checkpoint is taken.
"""

import contextlib
import functools
import itertools
import json
import logging
import shutil
import zlib
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from components import ConfigError, UserError
from workdir import strict_json
from workdir.compatibility import FROM_SOURCE, OF_THE_MODEL, OF_THE_TRAINING, config_changes
from workdir.files import checksum
from workdir.provenance import collect
from workdir.records import say


class CheckpointError(UserError):
    """No checkpoint to read, or one that could not be written."""


# Orbax narrates every save, and what goes wrong in one reaches the user as an error of ours.
logging.getLogger("absl").setLevel(logging.CRITICAL)

# How often a reader begins again because a training run has meanwhile saved, and may have deleted.
NEW_LISTS = 100


class _Damaged(Exception):
    """A checkpoint that cannot be trusted: the path of the part that cannot be read, and why."""

    def __init__(self, path, error):
        super().__init__(_reason(error))
        self.path = path


def _reason(error):
    """The first line of an error's message; its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _undisturbed(list_steps):
    """What `list_steps()` returns once no other process has deleted a checkpoint in the middle of it."""
    for _ in range(NEW_LISTS):
        with contextlib.suppress(FileNotFoundError):
            return list_steps()
    return list_steps()


def _text_checksum(record):
    text = json.dumps({k: v for k, v in record.items() if k != "checksum"}, sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"


def _items(state):
    optimizer = {"step": state.step, "state": state.opt_state}
    if state.loss_history is not None:
        optimizer["loss_history"] = state.loss_history
    return {"params": state.params, "ema": state.ema, "optimizer": optimizer}


class Checkpoints:
    """The checkpoints of one run.

    Args:
      workdir: folder of the run; they lie in `workdir/checkpoints`.
      config: the run's whole config, the classes' defaults written in.
      read_only: for sampling and evaluation; nothing on disk is touched.
      field: the config field that names the workdir, where it is not --workdir; for messages.
      to_train: whether the config must be one that training goes on with, rather than that of the model.

    Attributes:
      trained_on: identities of all data that the state was trained on, the latest last; recorded with it.
      imported: of which file the weights were read (--mode=import), as a dict for JSON; None: of none.
    """

    def __init__(self, workdir, config, read_only=False, field=None, to_train=False):
        self.folder = Path(workdir).absolute() / "checkpoints"
        self._meaning = OF_THE_TRAINING if to_train or not read_only else OF_THE_MODEL
        self._config, self._read_only, self._field = config, read_only, field
        self.trained_on, self.imported = [], None
        self._manager = None
        if not read_only or self.folder.is_dir():
            self._open()

    def _open(self):
        if self._read_only:
            options = ocp.CheckpointManagerOptions(read_only=True)
        else:
            policies = [checkpoint_managers.LatestN(self._config.checkpoint.keep)]
            if self._config.checkpoint.keep_every:
                policies.append(checkpoint_managers.EveryNSteps(self._config.checkpoint.keep_every))
            options = ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
                cleanup_tmp_directories=True,
            )
        self._manager = _undisturbed(lambda: ocp.CheckpointManager(self.folder, options=options))

    def all_steps(self):
        """Steps on disk, whether damaged or not."""
        return [] if self._manager is None else list(self._manager.all_steps())

    def record(self, step):
        """What is recorded beside the arrays of a step: config, provenance, identity of the data."""
        record = {
            "step": step,
            "config": strict_json.plain(self._config.to_dict()),
            "provenance": collect(),
            "data": self.trained_on,
        }
        if self.imported is not None:
            # A file says nothing of a data set: what only the source knows agrees with any.
            for field in FROM_SOURCE:
                if record["config"]["data"][field] is None:
                    del record["config"]["data"][field]
            record["imported"] = self.imported
        return record

    def save(self, state):
        """Starts writing the state; returns once it is copied to the host.

        Raises:
          CheckpointError: this save, or the one before it, could not be written.
        """
        host = jax.device_get(state)
        step = int(host.step)
        if step in self._manager.all_steps():
            return
        items = _items(host)
        record = self.record(step)
        record["checksums"] = {name: checksum(tree) for name, tree in items.items()}
        record["checksum"] = _text_checksum(record)
        self._require_space(sum(leaf.nbytes for leaf in jax.tree.leaves(items)), step)
        with self._guarded(step):
            arguments = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
            started = self._manager.save(
                step, args=ocp.args.Composite(record=ocp.args.JsonSave(record), **arguments)
            )
            if not started:
                raise OSError(f"Orbax declined to save; on disk are {self.all_steps()}")

    def finish(self):
        """Waits until everything is written.

        Raises:
          CheckpointError: the last save could not be written.
        """
        with self._guarded("the last one"):
            self._manager.wait_until_finished()

    def close(self):
        """Releases the threads; call `finish` first."""
        if self._manager is not None:
            self._manager.close()

    def _require_space(self, needed, step):
        free = shutil.disk_usage(self.folder).free
        if free < 1.1 * needed:
            raise CheckpointError(
                f"The disk of {self.folder} is full: the checkpoint of step {step} needs "
                f"{needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free. {self._advice()}"
            )

    def _advice(self):
        good = max(self.all_steps(), default=None)
        if good is None:
            return "Nothing had been saved before. Free some space and start again."
        return (
            f"The checkpoint of step {good} is complete: free some space and run the same command to "
            "resume from it."
        )

    @contextlib.contextmanager
    def _guarded(self, step):
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            self._reload()
            reason = _reason(error)[:300]
            raise CheckpointError(
                f"Checkpoint {step} could not be written to {self.folder}: {reason} {self._advice()}"
            ) from error

    def _reload(self):
        # What Orbax believes to have saved is not what is on disk after an error.
        with contextlib.suppress(Exception):
            _undisturbed(self._manager.reload)

    def restore(self, template):
        """The newest checkpoint that is complete and undamaged.

        Args:
          template: TrainState of arrays or ShapeDtypeStructs with the right structure.

        Returns:
          (TrainState of NumPy arrays, record), or None if there is no checkpoint at all.

        Raises:
          ConfigError: the checkpoint was made with a config that differs where it matters.
          CheckpointError: there are checkpoints, but every one is damaged.
        """
        found = self._newest_good(functools.partial(self._read, _items(template)))
        if found is None:
            return None
        items, record = found
        optimizer = items["optimizer"]
        restored = template.replace(
            step=optimizer["step"],
            params=items["params"],
            opt_state=optimizer["state"],
            ema=items["ema"],
            loss_history=optimizer.get("loss_history"),
        )
        return restored, record

    def resolve_data(self, config):
        """Fills the fields of the subtree `data` that were left to the source, from the newest record.

        Returns:
          the record.

        Raises:
          ConfigError: the run was trained with a config that differs where it matters, or `restore.step` is
            not there.
          CheckpointError: there is none, or every one is damaged.
        """
        record = self._newest_good(self._read_record)
        if record is None:
            raise self._none()
        for field in FROM_SOURCE:
            if config[field] is None:
                # JSON has no tuples.
                value = record["config"]["data"].get(field)
                config[field] = tuple(value) if isinstance(value, list) else value
        self._require_same(record)
        return record

    def restore_ema(self, params, names, chosen=None):
        """Averaged parameters for sampling and evaluation, of the step that `restore.step` chooses.

        Args:
          params: tree of arrays or ShapeDtypeStructs like the parameters.
          names: of all averages that the run keeps.
          chosen: that of the average that is wanted; None: the first.

        Returns:
          (averaged parameters, record).

        Raises:
          ConfigError: the run was trained with a config that differs where it matters, or `restore.step` is
            not there.
          CheckpointError: there is none, or every one is damaged.
        """
        found = self._newest_good(functools.partial(self._read, {"ema": dict.fromkeys(names, params)}))
        if found is None:
            raise self._none()
        items, record = found
        return items["ema"][chosen or names[0]], record

    def restore_weights(self, params, names):
        """Parameters and all averages, without optimizer, of the step that `restore.step` chooses.

        Args:
          params: tree of arrays or ShapeDtypeStructs like the parameters; names: of all averages.

        Returns:
          (parameters, {name: averaged parameters}, record).

        Raises:
          ConfigError, CheckpointError: see `restore_ema`.
        """
        targets = {"params": params, "ema": dict.fromkeys(names, params)}
        found = self._newest_good(functools.partial(self._read, targets))
        if found is None:
            raise self._none()
        items, record = found
        return items["params"], items["ema"], record

    def _candidates(self):
        """Steps on disk that may be restored, the newest first."""
        steps = sorted(self.all_steps(), reverse=True)
        chosen = self._config.restore.step if self._read_only else None
        if chosen is None:
            return steps
        if chosen not in steps:
            raise ConfigError(f"restore.step={chosen}: in {self.folder} are the steps {steps[::-1]}.")
        return [chosen]

    def _none(self):
        advice = f"{self._field} names the workdir of a trained network." if self._field else ""
        return CheckpointError(
            f"There is no checkpoint in {self.folder}. {advice or 'Run --mode=train first.'}"
        )

    def _require_same(self, record):
        """Refuses a checkpoint of another config, where that gives its arrays another meaning."""
        changes = config_changes(record["config"], self._config, self._meaning)
        if not changes:
            return
        advice = "Put these fields back, or choose another --workdir."
        if self._field:
            advice = (
                f"{self._field} needs a network without a variance head, trained with the other fields of "
                "this run."
            )
        raise ConfigError(
            f"The checkpoints in {self.folder} were made with another config: {'; '.join(changes)}. {advice}"
        )

    def _newest_good(self, read):
        """What `read(step)` returns for the newest step that it can read, or None if there is no checkpoint.

        Raises:
          CheckpointError: every checkpoint is damaged.
        """
        # A training run deletes what is being read, and what is damaged fails a second time.
        readings = 2 if self._read_only else 1
        for _ in range(NEW_LISTS):
            listed, damaged = self.all_steps(), []
            for step, reading in itertools.product(self._candidates(), range(readings)):
                try:
                    return read(step)
                except _Damaged as error:
                    if self._read_only and self._has_moved_on(listed):
                        break
                    if reading == readings - 1:
                        damaged.append(self._set_aside(step, error))
            else:
                # A restart must not begin anew, as if nothing had been trained, where all was damaged.
                damaged += [path for path in self._aside() if path not in damaged]
                if damaged:
                    raise self._all_damaged(damaged)
                # A list that was made while names changed may miss the old and the new one.
                if not (self._read_only and self._has_moved_on(listed)):
                    return None
        raise CheckpointError(
            f"The checkpoints in {self.folder} are replaced faster than they can be read. Wait for the "
            "training run, or train with a larger checkpoint.keep or checkpoint.every."
        )

    def _has_moved_on(self, listed):
        """Whether a training run has saved a checkpoint newer than those listed, or deleted one of them."""
        self._reload()
        steps = self.all_steps()
        return max(steps, default=-1) > max(listed, default=-1) or not set(listed) <= set(steps)

    def _aside(self):
        return sorted(self.folder.parent.glob("damaged-checkpoint-*"))

    def _all_damaged(self, paths):
        """The error that names what cannot be read, where nothing can."""
        damaged, chosen = ", ".join(map(str, paths)), self._config.restore.step if self._read_only else None
        if chosen is not None:
            return CheckpointError(
                f"restore.step={chosen} cannot be read: {damaged} is damaged. Restore it from a copy, or "
                "choose another step."
            )
        return CheckpointError(
            f"No checkpoint in {self.folder.parent} can be read, and some are damaged: {damaged}. Restore "
            f"them from a copy, or choose another {self._field or '--workdir'}."
        )

    def _read(self, targets, step):
        """(items, record) of a step.

        Args:
          targets: dict from item to a tree of arrays or ShapeDtypeStructs.

        Raises:
          ConfigError: the checkpoint is of another config.
          _Damaged: it is not whole.
        """
        record = self._read_record(step)
        self._require_same(record)
        return {name: self._read_item(step, name, tree, record) for name, tree in targets.items()}, record

    def _read_record(self, step):
        record = self._restored(step, "record", ocp.args.JsonRestore())
        if not isinstance(record, dict) or record.get("checksum") != _text_checksum(record):
            raise _Damaged(self.folder / str(step) / "record", "it does not match its checksum")
        return record

    def _read_item(self, step, name, tree, record):
        empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), tree)
        item = self._restored(step, name, ocp.args.StandardRestore(empty))
        if checksum(item) != record["checksums"][name]:
            raise _Damaged(self.folder / str(step) / name, "its arrays do not match their checksum")
        return item

    def _restored(self, step, name, arguments):
        """One item of a step, as Orbax reads it."""
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{name: arguments}))[name]
        except MemoryError:
            raise
        except Exception as error:
            raise _Damaged(self.folder / str(step) / name, error) from error

    def _set_aside(self, step, error):
        """Moves a damaged checkpoint out of the way, where this run writes; the path of what is damaged."""
        said = f"warning: {error.path} is damaged ({str(error)[:200]})"
        if self._read_only:
            say(f"{said}; trying an older checkpoint.")
            return error.path
        # Orbax would refuse to save any step up to a newer one that is still there.
        target = self.folder.parent / f"damaged-checkpoint-{step}"
        while target.exists():
            target = target.with_name(target.name + "-again")
        shutil.move(self.folder / str(step), target)
        say(f"{said}; moved checkpoint {step} to {target}, trying an older one.")
        self._manager.close()
        self._open()
        return target
