"""What lies in the folder of a run, as far as it can be read: its config, records and figures, for people."""

import dataclasses
import json
from pathlib import Path

from components import UserError
from configs import base, renamed
from experiment.create import resolved
from reports import shown
from workdir import lock, storage, strict_json
from workdir.files import UNREADABLE
from workdir.records import rows_and_damage
from workdir.saved_config import CLASSIFIER, leaves, read_config

UNREADABLE = (*UNREADABLE, RecursionError, OverflowError)


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """A run as its files tell it.

    Attributes:
      folder: its Path.
      record: the content of config.json: config, provenance, identity of the data; measured: of metrics.json.
      config: {path of a field: its value as text} with the defaults of the chosen classes; trained: the same,
        empty where config.json has none and `config` is the one that was evaluated; evaluated: that one.
      rows: of metrics.jsonl, the oldest first.
      figures: {name: shown.Figure} of metrics.json.
      state: what has become of the run, in a few words; unfinished: whether more was to come.
      problems: sentences on what could not be read, or is not whole.
    """

    folder: Path
    record: dict
    measured: dict
    config: dict[str, str]
    trained: dict[str, str]
    evaluated: dict[str, str]
    rows: list
    figures: dict[str, shown.Figure]
    state: str
    unfinished: bool
    problems: tuple[str, ...]

    def last(self, name):
        """The latest value of that name in the records, or None."""
        return next((row[name] for row in reversed(self.rows) if name in row), None)

    @property
    def provenance(self):
        """{name: value} of the code, versions and devices of the training, else of the evaluation."""
        found = self.record.get("provenance") or self.measured.get("provenance")
        return found if isinstance(found, dict) else {}


def read(folder):
    """The RunFolder of a folder. What cannot be read of it is named among its problems.

    Raises:
      one of UNREADABLE: nothing of it can be told.
    """
    folder, problems = storage.path(folder), []
    record = json_content(folder / "config.json", problems)
    measured = json_content(folder / "metrics.json", problems)
    trained = _config(folder, record, problems)
    evaluated = _flat(measured.get("config"))
    rows, damage = rows_and_damage(folder)
    if damage:
        problems.append(f"metrics.jsonl is damaged: {damage}")
    figures = shown.figures(measured)
    problems += [f"{figure} was left out: {reason}" for figure, reason in shown.left_out(measured).items()]
    for parts in sorted(folder.glob("*.parts-*")):
        problems.append(f"unfinished work lies in {parts.name}; the command that began it goes on with it")
    config = trained or evaluated
    state, unfinished = _state(folder, config, rows)
    return RunFolder(
        folder=folder,
        record=record,
        measured=measured,
        config=config,
        trained=trained,
        evaluated=evaluated,
        rows=rows,
        figures=figures,
        state=state,
        unfinished=unfinished,
        problems=tuple(problems),
    )


def first_line(error):
    """The first line of an error's message; its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def json_content(path, problems):
    """The dict of a JSON file; {} of none, and of one that cannot be read, which is told."""
    bare = []
    try:
        found = strict_json.loads(storage.read_text(path), bare)
        if not isinstance(found, dict):
            raise ValueError("it is no dict")
        if bare:
            names = " and ".join(dict.fromkeys(bare))
            problems.append(f"{path.name} is no JSON for every reader: it has {names} without quotes")
        return found
    except FileNotFoundError:
        return {}
    except UNREADABLE as error:
        problems.append(f"{path.name} cannot be read ({first_line(error)})")
        return {}


def _flat(config, prefix=""):
    """{path of a field: its value as text} of nested dicts."""
    if not isinstance(config, dict):
        return {}
    found = {}
    for name, value in config.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = _text(value)
    return found


def _text(value):
    """A field's value as text, the same for a tuple and for the list that JSON makes of one."""
    return json.dumps(strict_json.plain(value), ensure_ascii=False).strip('"')


def _config(folder, record, problems):
    """The run's config with the defaults of its classes, as an evaluation has it; else as it lies there."""
    if "config" not in record:
        return {}
    try:
        config = read_config(folder, base.get_config(), renamed.upgraded)
        return {name: _text(v) for name, v in leaves(resolved(config))}
    except (UserError, *UNREADABLE) as error:
        problems.append(f"its config is shown as it was recorded: {first_line(error)}")
        return _flat(record["config"])


def _checkpoint_step(folder):
    """The step of the newest checkpoint, by its name, or None."""
    try:
        steps = [int(name) for name, _ in storage.listed(folder / "checkpoints") if name.isdecimal()]
    except OSError:
        return None
    return max(steps, default=None)


def _state(folder, config, rows):
    """(what has become of the run, whether more was to come)."""
    saved, recorded = _checkpoint_step(folder), rows[-1]["step"] if rows else None
    wanted = config.get("training.steps", "")
    if (folder / CLASSIFIER).exists():
        return "a classifier of noisy images, which is no run", False
    if recorded is None and saved is None:
        mixture = config.get("mixture.name", "null")
        if mixture != "null":
            return f"exact denoiser of {mixture}", False
        begun = (folder / "config.json").exists()
        return ("stopped before its first record", True) if begun else ("results alone", False)
    step = max(int(step) for step in (saved, recorded) if step is not None)
    if any(lock.refusals(folder)):
        return f"training now, at step {step} of {wanted or 'unknown'}", True
    if recorded is not None and wanted.isdecimal() and step < int(wanted):
        kept = "no checkpoint" if saved is None else f"checkpoint of step {saved}"
        return f"stopped at step {step} of {wanted}, {kept}", True
    if saved is None:
        return f"trained to step {step}, no checkpoint here", False
    return (f"trained to step {step}" if rows else f"checkpoint of step {saved}"), False
