"""--mode=verify: whether what lies in a workdir is what was saved; nothing is written."""

import contextlib
import functools
import re

from components import ConfigError, UserError
from configs import base, renamed
from experiment.create import create, resolved
from experiment.load import require_run
from modes import MODES
from workdir import averages, storage, strict_json, verification
from workdir.checkpoints import items_of
from workdir.compatibility import OF_THE_MODEL, config_changes
from workdir.files import UNREADABLE
from workdir.records import Progress, rows_and_damage
from workdir.saved_config import read_config, refuse_classifier


def run(config, workdir):
    """--mode=verify: prints what of a workdir is damaged, what is good, and which checkpoint a restart takes.

    Every array of every checkpoint is read and compared with the digest that was saved beside it; of
    checkpoints of older versions every item with its checksum. Files of averages carry checksums.
    config.json, metrics.jsonl and metrics.json must be readable, and config.json must describe the
    checkpoints. No data set is needed.

    Args:
      config: not read.

    Raises:
      ConfigError: there is nothing of a run in the workdir.
      UserError: something is damaged.
    """
    folder = storage.absolute(workdir)
    refuse_classifier(workdir)
    steps, aside = _steps(folder), sorted(folder.glob("damaged-checkpoint-*"))
    if not (steps or aside or (folder / "config.json").exists() or averages.files(folder)):
        raise ConfigError(
            f"--workdir={workdir} holds nothing of a run: no checkpoints, no config.json. Name the folder "
            "that --mode=train wrote."
        )
    good, damaged = _checkpoints(folder, steps)
    for line, whole in [*_files(folder, good), *_averages(folder)]:
        print(line)
        damaged += not whole
    for path in aside:
        print(f"{path.name}: set aside by an earlier restart")
    for path in _unfinished(folder / "checkpoints"):
        print(f"checkpoints/{path.name}: a save that did not end, or is at work; nothing reads it")
    if good:
        print(f"a restart takes checkpoint {max(good)}, and so does what reads the run")
    elif steps or aside:
        print("no checkpoint is good: a restart is refused, until one is restored from a copy")
        damaged = damaged or len(aside)
    else:
        print("there is no checkpoint: a restart begins at step 0")
    if damaged:
        advice = "Restore what is damaged from a copy, or begin in another --workdir."
        if good:
            advice = "A restart of the training moves damaged checkpoints aside; copy other files back."
        what = "file or checkpoint is" if damaged == 1 else "files and checkpoints are"
        raise UserError(f"{workdir}: {damaged} {what} damaged. {advice}")
    print("all is well" if good else "nothing that is here is damaged")


def _steps(folder):
    """The steps of the checkpoints in a workdir, the earliest first."""
    with contextlib.suppress(OSError):
        paths = [path for path in (folder / "checkpoints").iterdir() if path.is_dir()]
        found = [path for path in paths if re.fullmatch(r"\d+", path.name)]
        return sorted(int(path.name) for path in found if verification.is_finished(path))
    return []


def _unfinished(folder):
    """Paths of the saves below a folder that have not ended."""
    if not storage.on_store(folder):
        return sorted(folder.glob(f"*{verification.UNFINISHED}*"))
    return [path for path in sorted(folder.glob("*")) if not verification.is_finished(path)]


def _checkpoints(folder, steps):
    """({step: record} of the good checkpoints, the number of those that are not), each printed."""
    template = functools.cache(lambda: _template(folder))
    progress = Progress(len(steps), "checkpoint", "verify") if steps else None
    good, bad = {}, 0
    for step in steps:
        place = folder / "checkpoints" / str(step)
        verdict = verification.verify(place, template)
        if verdict.damages and place.exists():
            # What a training run is deleting is gone by then, and what is damaged is so again.
            verdict = verification.verify(place, template)
        progress.update(1)
        if verdict.damages and not place.exists():
            print(f"checkpoint {step}: a training run has deleted it meanwhile")
            continue
        bad += bool(verdict.damages)
        for damage in verdict.damages:
            array = f", {damage.array}" if damage.array else ""
            print(f"checkpoint {step}, {damage.item}{array}: DAMAGED: {damage.reason}")
        if not verdict.damages:
            good[step] = verdict.record
            print("; ".join([f"checkpoint {step}: good, {verdict.arrays} arrays", *verdict.remarks]))
    if progress:
        progress.close()
    return good, bad


def _template(folder):
    """{item: template} of the run's checkpoints, from its config and newest record; {} where that fails."""
    try:
        config = read_config(folder, base.get_config(), renamed.upgraded)
        require_run(config, folder)
        return items_of(create(config, MODES["train"].reads).state_template())
    except (UserError, *UNREADABLE):
        return {}


def _files(folder, good):
    """(line, whether the file is good) of config.json and the records."""
    path = folder / "config.json"
    if not path.exists():
        if good:
            yield "config.json: MISSING: what reads the run needs --config", False
    else:
        reason = _config_damage(folder, good)
        yield _line("config.json", reason), not reason
    rows, reason = rows_and_damage(folder)
    path = folder / "metrics.jsonl"
    if rows or reason or path.exists():
        torn = " and a last one that a kill cut short" if path.exists() and not _ends_whole(path) else ""
        yield _line("metrics.jsonl", reason, f", {len(rows)} rows{torn}"), not reason
    for path in sorted(folder.glob("metrics*.json")):
        try:
            strict_json.loads(storage.read_text(path))
            reason = ""
        except (*UNREADABLE, RecursionError) as error:
            reason = verification.reason(error)
        yield _line(path.name, reason), not reason


def _ends_whole(path):
    content = path.read_bytes()
    return not content or content.endswith(b"\n")


def _line(name, reason, more=""):
    return f"{name}: DAMAGED: {reason}" if reason else f"{name}: good{more}"


def _config_damage(folder, good):
    """What is wrong with config.json, or ""; it must describe the newest good checkpoint."""
    try:
        config = read_config(folder, base.get_config(), renamed.upgraded)
        if not good:
            return ""
        changes = config_changes(good[max(good)]["config"], resolved(config), OF_THE_MODEL)
    except (UserError, *UNREADABLE, RecursionError) as error:
        return verification.reason(error)
    if changes:
        return f"it is not the config of checkpoint {max(good)}: {'; '.join(changes)}"
    return ""


def _averages(folder):
    """(line, whether the file is good) of the files of averages."""
    for path in averages.files(folder):
        reason = averages.damage(path)
        yield _line(path.relative_to(folder), reason), not reason
