"""Score-based generative models through SDEs.

usage:
    python main.py --config=configs/digits.py --workdir=runs/digits --mode=train
    python main.py --workdir=runs/digits --mode=sample
    python main.py --workdir=runs/digits --mode=eval

Any field of the config can be changed, --config.training.steps=5000, and a group that has a name is chosen by
it: --config.sde=ve.
configs/base.py lists them all with their meaning; --mode=check prints those in use.
"""

from workdir import hooks, signals

if __name__ == "__main__":
    # The imports below take seconds, in which a signal may come.
    signals.install()
    hooks.install()

import importlib.machinery
import importlib.util
import os
import re
import reprlib
import shlex
import signal
import sys

from ml_collections import ConfigDict

import overrides
from components import ConfigError, UserError, closest, local_path, told
from configs import base, renamed, schema
from modes import MODES
from workdir import storage
from workdir.full_disk import OF_THE_DISK
from workdir.saved_config import leaves, read_config, refuse_classifier, wait_for_config

FLAGS = {
    "config": "FILE     experiment file; FILE:ARGUMENT hands it an argument, configs/digits.py:ve. What\n"
    "                      reads a run takes the run's own config where this is left out",
    "workdir": "DIR     folder of the run: checkpoints, records, pictures",
    "output": "DIR      folder of the results of a mode that reads a run; default: the workdir",
    "from": "FILE       published checkpoint, or a folder of one, that --mode=import reads; see\n"
    "                      docs/weights.md; with --mode=check --for=import what import would refuse of it",
    "runs": "DIR       folder of runs, which --mode=report and --mode=table read; of --mode=diff two\n"
    "                      runs, A,B",
    "table": "NAME      published table that --mode=table fills, song2021/table3; list: all of them",
    "scale": "SOURCE    of --mode=table: digits or npz:FILE trains and measures a table on tiny images",
    "for": "MODE        the mode that --mode=check checks; default: train",
    "mode": "MODE       what to do; default: train",
    "coordinator": "HOST:PORT  of several processes: the address of the first; auto: as SLURM, Open MPI, a\n"
    "                      TPU pod or GKE says. docs/clusters.md",
    "processes": "N    how many there are; with --coordinator=HOST:PORT",
    "process": "I      which one this is, 0 for the first",
}
OF_SEVERAL = ("coordinator", "processes", "process")
PATH_FLAGS = ("config", "workdir", "output", "from", "runs")
# Those of them that may be an address of an object store.
STORE_FLAGS = ("workdir", "output", "runs")
# Arguments of a mode's `run` whose flags are words of Python.
ARGUMENTS = {"for": "for_mode", "from": "source"}


def usage():
    """The text of --help."""
    modes = "\n".join(f"    --mode={name:13} {mode.summary}" for name, mode in MODES.items())
    options = "\n".join(f"    --{name}={meaning}" for name, meaning in FLAGS.items())
    options += "\n    --list            print all experiments: paper, data, parameters, published figures"
    return (
        f"{__doc__}\n"
        f"options:\n{options}\n\n"
        f"modes:\n{modes}\n\n"
        "exit codes: 0 done, or a training run stopped by a signal with everything saved; 1 the run failed,\n"
        "and the message says how to go on; 2 the command or its config is wrong, and nothing was started;\n"
        "130, 143 stopped by Ctrl-C or SIGTERM, and the last line says whether the same command goes on."
    )


def _one_dash_less(argument):
    """A flag as `--name=value`, whether it was written with one dash or two; a negative number stays one."""
    return f"-{argument}" if re.match(r"-[^-\d.]", argument) else argument


def _joined(arguments):
    """The arguments, `--name value` written as `--name=value`."""
    joined = []
    for argument in map(_one_dash_less, arguments):
        waits = joined and re.fullmatch(rf"--(config(\.[\w.]+)?|{'|'.join(FLAGS)})", joined[-1])
        if waits and not argument.startswith("--"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _own_flags(arguments):
    """({flag: value} of the flags that are not overrides, the overrides as [(path, value or None)])."""
    given, changes = {}, []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not argument.startswith("--"):
            raise ConfigError(f"Unexpected argument: {argument}. Options start with --; see --help.")
        if name.startswith("--config.") or name.startswith("--noconfig."):
            changes.append((name[2:], value if equals else None))
        elif name[2:] not in FLAGS:
            raise ConfigError(
                f"{name} is no option.{closest(name, [f'--{flag}' for flag in FLAGS])} See --help. A field "
                "of the config is set by its whole path: --config.sampling.steps=50."
            )
        elif not value:
            raise ConfigError(f"{name} needs a value: {name}=...")
        else:
            given[name[2:]] = _placed(name, value) if name[2:] in PATH_FLAGS else value
    return given, changes


def _placed(name, value):
    """The path that a flag names; an address where the flag may be one."""
    return (storage.named if name[2:] in STORE_FLAGS else local_path)(value, name)


def _mode_of(name, flag="mode"):
    if name in renamed.MODES:
        raise ConfigError(f"--{flag}={name} is called --{flag}={renamed.MODES[name]} now.")
    if name not in MODES:
        known = ", ".join(MODES)
        raise ConfigError(f'--{flag}="{name}" is unknown.{closest(name, MODES)} Known: {known}.')
    return MODES[name]


def _check_flags(given):
    """Refuses flags of other modes, and what a mode cannot do without."""
    name = given.get("mode", "train")
    mode = _mode_of(name)
    for flag in given:
        owners = [owner for owner, row in MODES.items() if flag in row.flags]
        if owners and flag not in mode.flags:
            raise ConfigError(f"--{flag} is of --mode={', '.join(owners)}, and this is --mode={name}.")
    if name == "check":
        checked = given.get("for", "train")
        flags = _mode_of(checked, "for").flags
        if "from" in given and "from" not in flags:
            raise ConfigError(f"--from is of --for=import, and this is --for={checked}.")
    for flag in STORE_FLAGS:
        if storage.on_store(given.get(flag, "")) and not mode.stores:
            raise ConfigError(
                f"--mode={name} works in folders of this machine, and --{flag}={given[flag]} lies on an "
                "object store: name a folder, and copy."
            )
    refused = storage.without_checkpoints(given.get("workdir", "")) if name == "train" else None
    if refused:
        raise ConfigError(f"--workdir={given['workdir']}: {refused}.")
    for flag in OF_SEVERAL[1:]:
        if flag in given and "coordinator" not in given:
            raise ConfigError(f"--{flag} goes with --coordinator=HOST:PORT, the address of process 0.")
    if "coordinator" in given and not mode.shared:
        shared = ", ".join(owner for owner, row in MODES.items() if row.shared)
        raise ConfigError(
            f"--mode={name} is the work of one process: leave out --coordinator, which is of --mode={shared}."
        )
    if "workdir" in mode.needs and not given.get("workdir"):
        raise ConfigError(f"--mode={name} needs --workdir. Example: --workdir=runs/digits")
    if "from" in mode.needs and not given.get("from"):
        raise ConfigError(f"--mode={name} needs the file that it reads: --from=FILE. See docs/weights.md.")
    if "runs" in mode.needs and not given.get("runs") and given.get("table") != "list":
        example = "two runs: --runs=A,B" if name == "diff" else "the folder of the runs: --runs=DIR"
        raise ConfigError(f"--mode={name} needs {example}. See --help.")
    return name, mode


def _file_and_argument(path):
    """FILE and [ARGUMENT] of --config=FILE:ARGUMENT, where the file's own path may hold colons."""
    parts = path.split(":")
    for count in range(len(parts), 0, -1):
        file = ":".join(parts[:count])
        if os.path.isfile(file):
            return file, [":".join(parts[count:])] if count < len(parts) else []
    name, python, _ = path.rpartition(".py:")
    raise ConfigError(f"--config={path}: there is no file {name + '.py' if python else path}.")


def _file_config(path):
    """The config of an experiment file, without overrides.

    Raises:
      ConfigError: no such file, one that fails, or one that gives something else; names the reason.
    """
    file, argument = _file_and_argument(path)
    loader = importlib.machinery.SourceFileLoader("experiment_file", file)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module
    try:
        loader.exec_module(module)
        config = module.get_config(*argument)
    except (Exception, SystemExit) as error:
        lines = str(error).strip("\"' \n").splitlines() or [""]
        raise ConfigError(f"--config={path}: {type(error).__name__}: {lines[-1].strip()}") from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(
            f"--config={path}: its get_config() returns {reprlib.repr(config)}, and must return a ConfigDict "
            "that starts from base.get_config() of configs/base.py."
        )
    wrong = [f"--config={path}: {line}" for line in schema.mismatches(config)]
    if wrong:
        more = f" And {len(wrong) - 1} more." if len(wrong) > 1 else ""
        raise ConfigError(wrong[0] + more)
    return config.lock()


def _with_local_paths(config):
    """The config with the home folder in the place of `~` in every field that holds a path.

    Raises:
      ConfigError: an address in the place of a path.
    """
    for field in base.PATHS:
        parent, _, name = field.rpartition(".")
        subtree = overrides.subtree(config, parent)
        value = subtree[name]
        if value is not None:
            place = storage.named if field in base.ADDRESSES else local_path
            kind, colon, argument = value.partition(":") if field == "data.source" else ("", "", value)
            subtree[name] = f"{kind}{colon}{place(argument, field)}"
    return config


def parse(argv):
    """Returns (config, {flag: value}, name of the mode) of a command line.

    Raises:
      ConfigError: with one line, whatever is wrong with the command line.
    """
    given, changes = _own_flags(_joined(argv[1:]))
    name, mode = _check_flags(given)
    signals.expect(mode.after_a_stop)
    if "config" in given:
        config = _file_config(given["config"])
    elif "from" in given:
        reader = MODES[given["for"]] if name == "check" else mode
        config = importlib.import_module(reader.module).config_for(given["from"])
    elif {"runs", "files"} & set(mode.needs):
        config = base.get_config()
    elif "config" not in mode.needs or (name == "check" and "workdir" in given):
        if name == "eval" and overrides.apply(base.get_config(), changes).eval.follow:
            wait_for_config(given["workdir"])
        config = read_config(given["workdir"], base.get_config(), renamed.upgraded)
    else:
        refuse_classifier(given.get("workdir"))
        raise ConfigError("--config is missing. Example: --config=configs/digits.py; see --help.")
    config = _with_local_paths(overrides.apply(config, changes))
    return config, given, name


def _set_up_jax():
    import jax

    from sde_lib.numerics import fix_numerics

    fix_numerics()
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = os.path.join(os.path.expanduser("~"), ".cache", "undrift", f"jax-{jax.__version__}")
        jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _batch_sizes(config, mode):
    """The fields by which a mode takes less memory."""
    found = [
        path
        for path, _ in leaves(config)
        if path.endswith(".batch_size") and path.startswith(mode.reads or ())
    ]
    return found or ["data.memory_gib", "data.image_size"]


def main(argv):
    """Runs a command line and returns its exit code."""
    if any(a in ("-h", "--help", "-help", "--helpfull") for a in argv[1:]) or len(argv) == 1:
        print(usage())
        return 0
    if "--list" in map(_one_dash_less, argv[1:]):
        if len(argv) > 2:
            print(f"error: --list stands alone; found {shlex.join(argv[1:])}.", file=sys.stderr)
            return 2
        from modes.listing import listing

        print(listing())
        return 0
    given = {}
    try:
        config, given, name = parse(argv)
        from modes import check
        from parallel import processes

        if "coordinator" in given:
            processes.join(*(given.get(flag) for flag in OF_SEVERAL))
            flags = {f"--{flag}": given.get(flag) for flag in FLAGS if flag not in (*OF_SEVERAL, "config")}
            processes.require_same(flags | dict(leaves(config)))
        if name != "check":
            check.require(name, config)
        _set_up_jax()
        own = {ARGUMENTS.get(flag, flag): given.get(flag) for flag in MODES[name].flags}
        if "from" in MODES[name].needs:
            own["experiment"] = given.get("config")
        from parallel import memory

        how = f"Start all processes again with the same commands: each {MODES[name].after_a_stop}."
        with (
            processes.lost(how),
            memory.guarded(f"--mode={name} was at work", *_batch_sizes(config, MODES[name])),
        ):
            importlib.import_module(MODES[name].module).run(config, given.get("workdir"), **own)
    except UserError as error:
        for line in told("error: ", str(error).splitlines()):
            print(line, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:
        error = storage.as_of_a_disk(error)
        if not isinstance(error, OSError) or error.errno not in OF_THE_DISK:
            raise
        place = error.filename or given.get("output") or given.get("workdir") or given.get("runs")
        print(
            f"error: {error.strerror}: {place}. Nothing saved is lost: mend this and run the same command "
            f"again; it {MODES[given.get('mode', 'train')].after_a_stop}.",
            file=sys.stderr,
        )
        return UserError.exit_code
    except KeyboardInterrupt:
        print(signals.farewell("SIGINT"), file=sys.stderr)
        return 130
    return 0


def _leave(exit_code):
    """Ends one of several processes that failed, without waiting for the others."""
    if "parallel.processes" in sys.modules:
        sys.modules["parallel.processes"].leave(exit_code)


if __name__ == "__main__":
    try:
        exit_code = main(sys.argv)
        sys.stdout.flush()
        _leave(exit_code)
    except BrokenPipeError:
        # What read the output has closed it, as `| head` does: nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        exit_code = 128 + signal.SIGPIPE
    sys.exit(exit_code)
