"""What a mode would refuse, all of it at once; --mode=check prints it beside the components in use."""

import importlib

import data
import experiment
from components import ConfigError, Refusals, UserError, told
from configs import base
from experiment.create import is_read
from experiment.run_data import changes
from modes import MODES
from workdir import lock


def problems(name, config):
    """All that the mode of that name would refuse of a config, one line each; nothing is compiled or read.

    Called again once the data is known, it also checks what depends on the images' side and pixels.
    """
    mode, refusals = MODES[name], Refusals()
    refusals.add(experiment.refused_numbers(config, mode.reads or ()))
    if refusals.lines:
        return refusals.lines
    if "data" in mode.needs and config.mixture.name:
        refusals.add(
            [
                f'mixture.name="{config.mixture.name}" is no data set, and its denoiser is exact: there is '
                f"nothing to {name}. Use a mode that reads a run, or a config with a data set."
            ]
        )
    if mode.reads is None:
        refusals.add(data.refusals(config.data))
    else:
        refusals.add(experiment.problems(config, mode.reads))
    own = getattr(importlib.import_module(mode.module), "refusals", None)
    if own is not None:
        refusals.add(own(config))
    return refusals.lines


def require(name, config):
    """Raises ConfigError with everything that the mode of that name refuses of a config, if there is any."""
    found = problems(name, config)
    if found:
        raise ConfigError("\n".join(found))


def run(config, workdir, for_mode=None, source=None):
    """--mode=check: prints the components in use, and all that --for=MODE would refuse.

    With --workdir the run's record is read, where the mode reads a run; else the data set. With `source`,
    the file of --from, that is read and converted, as --mode=import does, and nothing is written.
    """
    name = for_mode or "train"
    found = Refusals()
    found.add(problems(name, config))
    with found:
        _learn(config, name, workdir, source, found)
        found.add(problems(name, config))
    for line in _described(experiment.resolved(config) if not found.lines else config, config, name):
        print(line)
    for line in told("refused: ", found.lines):
        print(line)
    count = sum(not line.startswith(" ") for line in found.lines)
    problems_found = f"--mode={name}: {count} problem{'s' if count > 1 else ''}"
    print(problems_found if count else f"ok: --mode={name} would refuse nothing")
    if found.lines:
        raise SystemExit(ConfigError.exit_code)


def _learn(config, name, workdir, source, found):
    """Fills in what the data, the run's record or the file knows, and takes what they refuse."""
    learn = getattr(importlib.import_module(MODES[name].module), "learn", None)
    try:
        if learn is not None:
            if not problems(name, config):
                learn(config)
                _check_files(config, name, workdir, None, found)
        elif "from" in MODES[name].needs:
            if source:
                importlib.import_module(MODES[name].module).check_file(config, workdir, source)
        elif workdir and "config" not in MODES[name].needs:
            record = experiment.require_run(config, workdir, awaited=name == "eval" and config.eval.follow)
            _check_files(config, name, workdir, record, found)
            if record and "data" in (MODES[name].reads or ()):
                changes(config, experiment.open_splits(config), record, contents=False)
        elif not config.mixture.name and not _refused_unread(config, name):
            splits = experiment.open_splits(config)
            data.resolve(config.data, splits["train"])
            record = None
            if workdir and name == "train":
                found.add(lock.refusals(workdir))
            if workdir and name == "train" and not problems(name, config):
                record = experiment.require_run(config, workdir, to_train=True)
            if record:
                changes(config, splits, record, latest=True, contents=False)
            _check_files(config, name, None, record, found)
    except UserError as error:
        found.add(str(error).splitlines())


def _check_files(config, name, workdir, record, found):
    """Takes what the mode would refuse of the files that are named, once it refuses nothing of the config."""
    if problems(name, config):
        return
    reads = MODES[name].reads or ()
    if "restore" in reads and record:
        with found:
            experiment.require_average(config, reads)
    require_files = getattr(importlib.import_module(MODES[name].module), "require_files", None)
    if require_files is not None:
        with found:
            require_files(config, workdir, record)


def _refused_unread(config, name):
    """Whether the mode would refuse the config before it looks at the data, for what is said of the data."""
    refusals = Refusals()
    refusals.add(experiment.refused_numbers(config, MODES[name].reads or ()))
    if not refusals.lines:
        refusals.add(data.refusals(config.data))
    return bool(refusals.lines)


def _described(config, given, name):
    """Lines: every field that a mode reads, a star before those that `given` has other than the default."""
    own = MODES[name].reads or ()
    others = {path for mode in MODES.values() for path in mode.reads or ()} - set(own)
    yield from _of_subtree(config, given, base.get_config(), "", own, others)
    yield "* differs from configs/base.py, or from the class's own default"


def _of_subtree(config, given, defaults, path, own, others):
    """Lines of the fields below `path`, without the subtrees `others`, which other modes alone read."""
    for name in config:
        value, field = config[name], f"{path}{name}"
        if field in others and not is_read(field, own):
            # Of a group of which the mode reads a part that part alone is shown.
            own_part = [read for read in own if read.startswith(f"{field}.")]
            if not own_part:
                continue
            others = others | {f"{field}.{n}" for n in value if f"{field}.{n}" not in own_part}
        if hasattr(value, "items"):
            yield from _of_subtree(value, given[name], defaults[name], f"{field}.", own, others)
        elif value is not None:
            default = defaults[name]
            changed = given[name] != default
            if default is None:
                default = experiment.default_of(config, field)
                changed = changed and value != default
            was = f"   (default {default})" if changed and default is not None else ""
            yield f"{'*' if changed else ' '} {field} = {value}{was}"
