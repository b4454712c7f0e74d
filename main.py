"""Score-based generative models through SDEs.

usage:
    python main.py --config=configs/digits.py --workdir=runs/digits --mode=train
    python main.py --workdir=runs/digits --mode=sample
    python main.py --workdir=runs/digits --mode=eval

Any field of the config can be changed: --config.sde=ve, --config.training.steps=5000.
configs/base.py lists them all with their meaning; --mode=check prints those in use.
"""

import difflib
import errno
import importlib
import os
import re
import sys

from absl import flags
from ml_collections import ConfigDict, FieldReference, config_flags

from components import ConfigError, UserError, closest
from configs import base, renamed
from modes import MODES
from workdir.saved_config import leaves, read_config

FLAGS = {
    "config": "FILE     experiment file; FILE:ARGUMENT hands it an argument, configs/digits.py:ve. What\n"
    "                      reads a run takes the run's own config where this is left out",
    "workdir": "DIR     folder of the run: checkpoints, records, pictures",
    "output": "DIR      folder of the results of a mode that reads a run; default: the workdir",
    "for": "MODE        the mode that --mode=check checks; default: train",
    "mode": "MODE       what to do; default: train",
}


def usage():
    """The text of --help."""
    modes = "\n".join(f"    --mode={name:13} {mode.summary}" for name, mode in MODES.items())
    options = "\n".join(f"    --{name}={meaning}" for name, meaning in FLAGS.items())
    return (
        f"{__doc__}\n"
        f"options:\n{options}\n\n"
        f"modes:\n{modes}\n\n"
        "exit codes: 0 done, or stopped by a signal with everything saved; 1 the run failed, and the\n"
        "message says how to go on; 2 the command or its config is wrong, and nothing was started."
    )


def _one_dash_less(argument):
    """A flag as `--name=value`, whether it was written with one dash or two."""
    return argument if argument.startswith("--") or not argument.startswith("-") else f"-{argument}"


def _joined(arguments):
    """The arguments, `--name value` written as `--name=value`."""
    joined = []
    for argument in map(_one_dash_less, arguments):
        waits = joined and re.fullmatch(r"--(config(\.[\w.]+)?|workdir|mode|output|for)", joined[-1])
        if waits and not argument.startswith("--"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _own_flags(arguments):
    """({flag: value} of the flags that are not overrides, the overrides as [(path, value or None)])."""
    given, overrides = {}, []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not argument.startswith("--"):
            raise ConfigError(f"Unexpected argument: {argument}. Options start with --; see --help.")
        if name.startswith("--config.") or name.startswith("--noconfig."):
            overrides.append((name[2:], value if equals else None))
        elif name[2:] not in FLAGS:
            raise ConfigError(
                f"{name} is no option.{closest(name, [f'--{flag}' for flag in FLAGS])} See --help."
            )
        elif not equals:
            raise ConfigError(f"{name} needs a value: {name}=...")
        else:
            given[name[2:]] = value
    return given, overrides


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
    if "for" in given:
        _mode_of(given["for"], "for")
    if "workdir" in mode.needs and not given.get("workdir"):
        raise ConfigError(f"--mode={name} needs --workdir. Example: --workdir=runs/digits")
    return name, mode


def _file_config(path):
    """The config of an experiment file, without overrides.

    Raises:
      ConfigError: no such file, or one that fails; names the reason.
    """
    if not os.path.isfile(path.split(":")[0]):
        raise ConfigError(f"--config={path}: there is no file {path.split(':')[0]}.")
    values, argument = flags.FlagValues(), f"--config={path}"
    config_flags.DEFINE_config_file("config", None, "", values, sys_argv=["main.py", argument])
    try:
        values(["main.py", argument])
        return values.config
    except Exception as error:
        lines = str(error).strip("\"' \n").splitlines() or [""]
        raise ConfigError(f"--config={path}: {type(error).__name__}: {lines[-1].strip()}") from error


def _groups(config, prefix=""):
    """The paths of all subtrees, and whether each has a name."""
    for name in config:
        if isinstance(config[name], ConfigDict):
            yield f"{prefix}{name}", "name" in config[name]
            yield from _groups(config[name], f"{prefix}{name}.")


def _override_flag(config, flag, value):
    """One override as a flag that ml_collections reads: a group's name is set by the group's path.

    Raises:
      ConfigError: no such field, an older name of one, or a group without a name.
    """
    path = flag.removeprefix("noconfig.").removeprefix("config.")
    groups, fields = dict(_groups(config)), [name for name, _ in leaves(config)]
    replaced = value is not None and value.startswith("{")
    if path in fields or (path in groups and replaced):
        return f"--{flag}" if value is None else f"--{flag}={value}"
    if groups.get(path) and value is not None:
        return f"--config.{path}.name={value}"
    if path in renamed.FIELDS:
        now = " and ".join(f"--config.{name}" for name in renamed.FIELDS[path])
        raise ConfigError(f'"--config.{path}" is called {now} now.')
    if path in groups:
        shown = f"--config.{path}.{next(iter(_fields_of(config, path)))}"
        raise ConfigError(f"--config.{path} is a group of fields. Set one of them, for example {shown}=...")
    matches = difflib.get_close_matches(path, [*fields, *groups], n=1, cutoff=0.5)
    hint = f' Did you mean "--config.{matches[0]}"?' if matches else " configs/base.py lists all fields."
    raise ConfigError(f'"--config.{path}" is not a field of the config.{hint}')


def _fields_of(config, path):
    for part in path.split("."):
        config = config[part]
    return [name for name, _ in leaves(config)]


def _optional(config, prefix=""):
    """The paths of the fields that may be None."""
    for name, value in config.items(preserve_field_references=True):
        if isinstance(value, ConfigDict):
            yield from _optional(value, f"{prefix}{name}.")
        elif isinstance(value, FieldReference):
            yield f"{prefix}{name}"


def _overridden(config, overrides):
    """The config with its overrides applied.

    Raises:
      ConfigError: names the first override that cannot be.
    """
    optional, given = set(_optional(config)), []
    for flag, value in overrides:
        path = flag.removeprefix("config.")
        # A number's parser does not know None.
        if value == "None" and path in optional:
            config.update_from_flattened_dict({path: None})
        else:
            given.append(_override_flag(config, flag, value))
    argv = ["main.py", *given]
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, "", values, sys_argv=argv)
    try:
        values(argv)
    except (flags.Error, TypeError, ValueError, KeyError) as error:
        lines = str(error).strip().splitlines() or [""]
        raise ConfigError((lines[-1] if "Traceback" in str(error) else lines[0]).strip()) from error
    return config


def parse(argv):
    """Returns (config, {flag: value}, name of the mode) of a command line.

    Raises:
      ConfigError: with one line, whatever is wrong with the command line.
    """
    given, overrides = _own_flags(_joined(argv[1:]))
    name, mode = _check_flags(given)
    if "config" in given:
        config = _file_config(given["config"])
    elif "config" not in mode.needs or (name == "check" and "workdir" in given):
        config = read_config(given["workdir"], base.get_config())
    else:
        raise ConfigError("--config is missing. Example: --config=configs/digits.py; see --help.")
    config = _overridden(config, overrides)
    if "data" in mode.needs and config.mixture.name:
        raise ConfigError(
            f'mixture.name="{config.mixture.name}" is no data set, and its denoiser is exact: there is '
            f"nothing to {name}. Use --mode=sample, eval or encode, or a config with a data set."
        )
    return config, given, name


def _set_up_jax():
    import logging

    import jax

    from sde_lib import noise
    from workdir.hooks import quiet_threads

    noise.use_partitionable_threefry()
    # Orbax narrates every save, and what goes wrong in one reaches the user as an error of ours.
    logging.getLogger("absl").setLevel(logging.CRITICAL)

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = os.path.join(os.path.expanduser("~"), ".cache", "undrift", f"jax-{jax.__version__}")
        jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    quiet_threads()


def main(argv):
    """Runs a command line and returns its exit code."""
    if any(a in ("-h", "--help", "-help", "--helpfull") for a in argv[1:]) or len(argv) == 1:
        print(usage())
        return 0
    given = {}
    try:
        config, given, name = parse(argv)
        from modes import check

        if name != "check":
            check.require(name, config)
        _set_up_jax()
        own = {"for_mode" if flag == "for" else flag: given.get(flag) for flag in MODES[name].flags}
        importlib.import_module(MODES[name].module).run(config, given.get("workdir"), **own)
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        print(
            f"error: {error.strerror}: {error.filename or given.get('workdir')}. Nothing saved is lost: mend "
            "this and run the same command again.",
            file=sys.stderr,
        )
        # TensorBoard's writer tries once more at exit, in vain and at length.
        sys.unraisablehook = lambda _: None
        return UserError.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
