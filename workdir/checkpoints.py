"""Checkpoints with Orbax: asynchronous, verified on reading, with an older one to fall back on.

A checkpoint holds the items `params`, `ema`, `optimizer` (step and optax state) and
`record` (config, provenance, identity of the data and a digest of each array). Orbax does not notice a
flipped bit in an array file, so the digests are compared on every restore; what does
not match is set aside and the next older checkpoint taken. Where a training run deletes what
is just being read, nothing is damaged, and its newest checkpoint is taken. What a full disk does not take is
no end of a training run, which keeps what was complete and tries again at its next save.
"""

import contextlib
import functools
import itertools
import logging
import math
import shutil
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp

from components import ConfigError, UserError
from parallel.processes import decided_by_first, is_first, of_first, on_any
from workdir import retention, storage, strict_json, verification
from workdir.compatibility import FROM_SOURCE, OF_THE_MODEL, OF_THE_TRAINING, config_changes
from workdir.digests import digests
from workdir.provenance import collect
from workdir.records import read_metrics, say
from workdir.saved_config import refuse_classifier


class CheckpointError(UserError):
    """No checkpoint to read, or one that could not be written.

    Attributes:
      what: what happened, without what to do.
    """

    def __init__(self, what, advice=""):
        super().__init__(f"{what} {advice}".strip())
        self.what = what


# Orbax narrates every save, and what goes wrong in one reaches the user as an error of ours.
for _name in ("absl", "asyncio"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

# So long a process that has written its part of a checkpoint waits for those of the others.
SECONDS_FOR_OTHERS = 600
# How often a reader begins again because a training run has meanwhile saved, and may have deleted.
NEW_LISTS = 100


class _Damaged(Exception):
    """A checkpoint that cannot be trusted: the path of the part that cannot be read, and why."""

    def __init__(self, path, reason):
        super().__init__(reason)
        self.path = path


def _target(leaf):
    """What Orbax is to read an array into: one of NumPy, or a sharded one where the template is of that."""
    sharded = isinstance(leaf, jax.ShapeDtypeStruct) and leaf.sharding is not None
    return leaf if sharded else np.empty(leaf.shape, leaf.dtype)


def _undisturbed(list_steps):
    """What `list_steps()` returns once no other process has deleted a checkpoint in the middle of it."""
    for _ in range(NEW_LISTS):
        with contextlib.suppress(FileNotFoundError):
            return list_steps()
    return list_steps()


def items_of(state):
    """{item: tree} of what a checkpoint holds of a TrainState, beside its record."""
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

    Raises:
      ConfigError: the workdir holds a classifier.
    """

    def __init__(self, workdir, config, read_only=False, field=None, to_train=False):
        refuse_classifier(workdir)
        refused = storage.without_checkpoints(workdir)
        if refused:
            raise ConfigError(f"{field or '--workdir'}={workdir}: {refused}.")
        self.folder = storage.absolute(workdir) / "checkpoints"
        self._meaning = OF_THE_TRAINING if to_train or not read_only else OF_THE_MODEL
        self._config, self._read_only, self._field = config, read_only, field
        self.trained_on, self.imported = [], None
        self._manager, self._losses, self._last = None, {}, None
        if not read_only or self.folder.is_dir():
            self._open()

    def _open(self):
        if self._read_only:
            options = ocp.CheckpointManagerOptions(read_only=True)
        else:
            if self._config.checkpoint.keep_best:
                for row in read_metrics(self.folder.parent):
                    self.measured(row["step"], row.get("held_out_loss", math.nan))
            options = ocp.CheckpointManagerOptions(
                preservation_policy=retention.policy(self._config.checkpoint, self._losses),
                cleanup_tmp_directories=True,
                async_options=ocp.AsyncOptions(timeout_secs=SECONDS_FOR_OTHERS),
            )
        self._manager = _undisturbed(lambda: ocp.CheckpointManager(self.folder, options=options))

    def measured(self, step, loss):
        """Takes the held-out loss at a step, by which `checkpoint.keep_best` chooses."""
        if math.isfinite(loss):
            self._losses[step] = loss

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
        """Starts writing the state, whose arrays may lie on the devices of several processes.

        It returns once all is copied to the host, so that the arrays may go. That the save before this one
        could not be written is said.

        Raises:
          CheckpointError: this save could not be written.
        """
        self._settle()
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        items = items_of(state)
        record = self.record(step)
        record["checksums"] = {name: digests(tree) for name, tree in items.items()}
        record["checksum"] = verification.text_checksum(record)
        self._require_space(sum(leaf.nbytes for leaf in jax.tree.leaves(items)), step)
        with self._guarded(step):
            arguments = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
            started = self._manager.save(
                step, args=ocp.args.Composite(record=ocp.args.JsonSave(record), **arguments)
            )
            if not started:
                raise OSError(f"Orbax declined to save; on disk are {self.all_steps()}")
        self._last = step

    def try_save(self, state):
        """Saves as `save` does, for a run that goes on: what cannot be written is said, and no error."""
        try:
            self.save(state)
        except CheckpointError as error:
            self._say_unsaved(error)

    def save_last(self, state):
        """Saves as `save` does and waits until it is written, for a run that ends.

        What is not saved now is lost: a save that failed is tried once more. It may have been the clock's
        fault, for Orbax gives up a save during which the clock has jumped ahead.

        Raises:
          CheckpointError: it could not be written.
        """
        try:
            self.save(state)
            self.finish()
        except CheckpointError as error:
            say(f"warning: {error.what} {self._kept()} This was the last save, and is tried once more.")
            self.save(state)
            self.finish()

    def _settle(self):
        """Waits for the save before, and says so where it failed."""
        try:
            self.finish()
        except CheckpointError as error:
            self._say_unsaved(error)

    def _say_unsaved(self, error):
        say(
            f"warning: {error.what} {self._kept()} The run goes on and tries again at its next save: "
            f"{self._mend()} until then."
        )

    def finish(self):
        """Waits until everything is written.

        Raises:
          CheckpointError: the last save could not be written.
        """
        with self._guarded(self._last):
            self._manager.wait_until_finished()

    def close(self):
        """Waits for a save that is under way, says where it fails, and releases the threads.

        Unlike `finish` it asks no other process, which may have ended; Orbax may wait for one, at most for
        SECONDS_FOR_OTHERS at a time.
        """
        if self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            say(f"warning: {self._unwritten(self._last, error)} {self._kept()}")
        self._manager.close()

    def _require_space(self, needed, step):
        if storage.on_store(self.folder):
            return
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError:
            # Of a folder that is gone, which Orbax makes anew, or another fault, which the save itself says.
            free = math.inf
        if on_any(free < 1.1 * needed):
            raise CheckpointError(
                f"The disk of {self.folder} is full: the checkpoint of step {step} needs "
                f"{needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free.",
                self._advice(),
            )

    def _kept(self):
        good = max(self.all_steps(), default=None)
        return f"The checkpoint of step {good} is complete." if good is not None else "None is complete yet."

    def _advice(self):
        good = max(self.all_steps(), default=None)
        if good is None:
            return f"Nothing had been saved before. {self._mend().capitalize()} and start again."
        return (
            f"The checkpoint of step {good} is complete: {self._mend()} and run the same command to "
            "resume from it."
        )

    def _mend(self):
        return "mend the way to the store" if storage.on_store(self.folder) else "free some space"

    def _unwritten(self, step, error):
        reason = verification.reason(error)[:300].rstrip(".")
        if jax.process_count() > 1 and "barrier" in reason.lower():
            # All that Orbax says of it is the name of what it has waited at.
            reason = f"a process has not written its part within {SECONDS_FOR_OTHERS} seconds"
        return f"Checkpoint {step} could not be written to {self.folder}: {reason}."

    @contextlib.contextmanager
    def _guarded(self, step):
        """Makes what goes wrong on one process within the block a CheckpointError on all."""
        error = None
        try:
            yield
        except UserError:
            raise
        except Exception as raised:
            error = raised
        if on_any(error is not None):
            if error and not is_first():
                # Process 0, which alone speaks otherwise, knows but that it has waited in vain.
                print(self._unwritten(step, error), file=sys.stderr, flush=True)
            self._reopen()
            error = error or OSError("another process could not write its part")
            raise CheckpointError(self._unwritten(step, error), self._advice()) from error

    def _reopen(self):
        # An error stays in a manager of Orbax, and the unfinished files of the save on a full disk.
        for act in (self._manager.close, self._remove_unfinished, self._open):
            with contextlib.suppress(Exception):
                act()

    def _remove_unfinished(self, seconds=5.0):
        # Where one item failed, others may still be written: Orbax, which removes such a folder once, would
        # fail for it at the next save.
        until = time.monotonic() + seconds
        # On a store an unfinished folder has its final name, and Orbax deletes it as it opens.
        while is_first() and not storage.on_store(self.folder) and time.monotonic() < until:
            unfinished = [path for path in self.folder.iterdir() if verification.UNFINISHED in path.name]
            if not unfinished:
                break
            for path in unfinished:
                shutil.rmtree(path, ignore_errors=True)
            time.sleep(0.05)

    def _reload(self):
        # What Orbax believes to have saved is not what is on disk after an error.
        with contextlib.suppress(Exception):
            _undisturbed(self._manager.reload)

    def restore(self, template):
        """The newest checkpoint that is complete and undamaged.

        Args:
          template: TrainState of arrays or ShapeDtypeStructs with the right structure; of those with a
            sharding each process reads the shards of its own devices.

        Returns:
          (TrainState, record), or None if there is no checkpoint at all. Its arrays are of NumPy, and where
          the template has a sharding of JAX.

        Raises:
          ConfigError: the checkpoint was made with a config that differs where it matters.
          CheckpointError: there are checkpoints, but every one is damaged.
        """
        found = self._newest_good(functools.partial(self._read, items_of(template)))
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
            # Several processes read the same ones, whatever each has seen of a folder that changes.
            for step, reading in itertools.product(of_first(self._candidates()), range(readings)):
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
        return on_any(max(steps, default=-1) > max(listed, default=-1) or not set(listed) <= set(steps))

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
        right = isinstance(record, dict) and record.get("checksum") == verification.text_checksum(record)
        with self._together(path := self.folder / str(step) / "record"):
            if not right:
                raise _Damaged(path, "it does not match its checksum")
        return record

    def _read_item(self, step, name, tree, record):
        item = self._restored(step, name, ocp.args.StandardRestore(jax.tree.map(_target, tree)))
        wrong = verification.wrong_arrays(item, record["checksums"][name])
        with self._together(path := self.folder / str(step) / name):
            if wrong:
                raise _Damaged(path, verification.told(wrong))
        return item

    def _restored(self, step, name, arguments):
        """One item of a step, as Orbax reads it."""
        with self._together(self.folder / str(step) / name):
            return self._manager.restore(step, args=ocp.args.Composite(**{name: arguments}))[name]

    @contextlib.contextmanager
    def _together(self, path):
        """Makes an error within the block, on any process, a _Damaged of this path on all."""
        error = None
        try:
            yield
        except MemoryError:
            raise
        except Exception as raised:
            error = raised
        if on_any(error is not None):
            if isinstance(error, _Damaged):
                raise error
            reason = verification.of_orbax(error) if error else "another process cannot read it"
            raise _Damaged(path, reason) from error

    def _which(self, error):
        """What is damaged, by the names of the arrays where they are known."""
        wrong, alone = {}, jax.process_count() == 1
        if alone and error.path.name != verification.RECORD and error.__cause__ is not None:
            # Orbax reads all arrays at once, and says of none which one it was.
            with contextlib.suppress(Exception):
                wrong = verification.unreadable(error.path)
        return (verification.told(wrong) if wrong and "" not in wrong else str(error))[:400]

    def _set_aside(self, step, error):
        """Moves a damaged checkpoint out of the way, where this run writes; the path of what is damaged."""
        said = f"warning: {error.path} is damaged ({self._which(error)})"
        if self._read_only:
            say(f"{said}; trying an older checkpoint.")
            return error.path
        # Orbax would refuse to save any step up to a newer one that is still there.
        target = self.folder.parent / f"damaged-checkpoint-{step}"
        while target.exists():
            target = target.with_name(target.name + "-again")
        target = storage.path(of_first(str(target)))
        decided_by_first(lambda: storage.move_folder(self.folder / str(step), target))
        say(f"{said}; moved checkpoint {step} to {target}, trying an older one.")
        self._manager.close()
        self._open()
        return target
