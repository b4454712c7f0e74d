"""Score-based generative models through SDEs.

usage:
    python main.py --config=configs/digits.py --workdir=runs/digits --mode=train
    python main.py --config=configs/digits.py --workdir=runs/digits --mode=sample
    python main.py --config=configs/digits.py --workdir=runs/digits --mode=eval

Any field of the config can be changed: --config.sde.name=ve, --config.training.steps=5000.
configs/base.py lists them all with their meaning; --mode=check prints the result.
"""

import difflib
import errno
import importlib
import os
import re
import sys

from absl import flags
from ml_collections import ConfigDict, config_flags

from components import ConfigError, UserError

# mode: (module whose `run(config, workdir)` does it, whether it needs --workdir, what it does)
MODES = {
    "train": ("modes.train", True, "train, or resume from the newest checkpoint in the workdir"),
    "sample": (
        "modes.sample",
        True,
        "draw samples.png, samples.npz, trajectory.png from the newest checkpoint",
    ),
    "eval": ("modes.eval", True, "held-out loss, bits/dim, two-sample metrics: metrics.json, evaluation.png"),
    "encode": ("modes.encode", True, "latent codes of held-out data, decoded and interpolated: encoding.png"),
    "calibrate": (
        "modes.calibrate",
        True,
        "fit solvers of few calls to the model: fitted_<calls>.npz, calibration.png",
    ),
    "variance": (
        "modes.variance",
        True,
        "measure what optimal reverse variances need: variance.npz, .png",
    ),
    "trajectory": (
        "modes.optimal_grid",
        True,
        "the bound between all pairs of noise levels, for optimal grids: optimal_trajectory.npz, .png",
    ),
    "table": ("modes.coefficients", False, "print the sampler's coefficients, one line a network call"),
    "check": ("modes.check", False, "print the resolved config and everything that would be refused"),
    "inspect": ("modes.inspect", False, "print what the data set holds, and suggested settings"),
    "prepare": ("modes.prepare", False, "download and prepare a TFDS data set (requirements/tfds.txt)"),
}
NEED_DATA_SET = ("modes.train", "inspect", "prepare")


def usage():
    """The text of --help."""
    modes = "\n".join(f"    --mode={name:10} {text}" for name, (_, _, text) in MODES.items())
    return (
        f"{__doc__}\n"
        "options:\n"
        "    --config=FILE   experiment file; FILE:ARGUMENT hands it an argument, configs/digits.py:ve\n"
        "    --workdir=DIR   folder of the run: checkpoints, records, pictures\n"
        f"{modes}\n\n"
        "exit codes: 0 done, or stopped by a signal with everything saved; 1 the run failed, and the\n"
        "message says how to go on; 2 the command or its config is wrong, and nothing was started."
    )


def _flag_values(argv):
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "Experiment file.", values, sys_argv=argv)
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=values)
    flags.DEFINE_string("mode", "train", "What to do.", flag_values=values)
    return values


def _all_fields(config, prefix="config"):
    for name, value in config.items():
        yield f"{prefix}.{name}"
        if isinstance(value, ConfigDict):
            yield from _all_fields(value, f"{prefix}.{name}")


def _unknown_override(argv):
    """The message for the first override of a field that does not exist, or None."""
    plain = [a for a in argv if re.match(r"--?config=", a)]
    config = _parse_flags([argv[0], *plain]).config
    fields = list(_all_fields(config))
    for argument in argv[1:]:
        found = re.match(r"--?(?:no)?(config\.[^=]*)", argument)
        if found and found[1] not in fields:
            name = found[1]
            matches = difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
            hint = f' Did you mean "--{matches[0]}"?' if matches else " configs/base.py lists all fields."
            return f'"--{name}" is not a field of the config.{hint}'
    return None


def _parse_flags(argv):
    values = _flag_values(argv)
    rest = values(argv)[1:]
    if rest:
        raise ConfigError(f"Unexpected arguments: {' '.join(rest)}. Options start with --; see --help.")
    return values


def _one_line(error, argv):
    """The line of an error's text that says what happened."""
    lines = str(error).strip("\"' \n").splitlines() or [""]
    line = (lines[-1] if "Traceback" in str(error) else lines[0]).strip()
    if "as a ConfigDict" in line:
        subtree = next(a.split("=")[0] for a in argv if re.match(r"--?config\.\w+=", a))
        return f"{subtree} is a group of fields. Set one of them, for example {subtree}.name=..."
    return line


def _joined(argv):
    """The command line with `--config FILE` written as `--config=FILE`."""
    if "--config" in argv[:-1]:
        i = argv.index("--config")
        return [*argv[:i], f"--config={argv[i + 1]}", *argv[i + 2 :]]
    return argv


def parse(argv):
    """Returns (config, workdir, mode) of a command line.

    Raises:
      ConfigError: with one line, whatever is wrong with the command line.
    """
    argv = _joined(argv)
    path = next((a.split("=", 1)[1] for a in argv if re.match(r"--?config=", a)), None)
    if path is None:
        raise ConfigError("--config is missing. Example: --config=configs/digits.py; see --help.")
    if not os.path.isfile(path.split(":")[0]):
        raise ConfigError(f"--config={path}: there is no file {path.split(':')[0]}.")
    try:
        values = _parse_flags(argv)
    except flags.Error as error:
        raise ConfigError(_one_line(error, argv)) from None
    except ConfigError:
        raise
    except Exception as error:
        try:
            unknown = _unknown_override(argv)
        except Exception:
            unknown = None
        raise ConfigError(
            unknown or f"--config={path}: {type(error).__name__}: {_one_line(error, argv)}"
        ) from error
    if values.mode not in MODES:
        matches = difflib.get_close_matches(values.mode, MODES, n=1)
        hint = f' Did you mean "{matches[0]}"?' if matches else ""
        raise ConfigError(f'--mode="{values.mode}" is unknown.{hint} Known: {", ".join(MODES)}.')
    if MODES[values.mode][1] and not values.workdir:
        raise ConfigError(f"--mode={values.mode} needs --workdir. Example: --workdir=runs/digits")
    return values.config, values.workdir, values.mode


def _set_up_jax():
    import logging

    import jax

    from sde_lib import noise

    noise.use_partitionable_threefry()
    # Orbax narrates every save, and what goes wrong in one reaches the user as an error of ours.
    logging.getLogger("absl").setLevel(logging.CRITICAL)

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = os.path.join(os.path.expanduser("~"), ".cache", "undrift", f"jax-{jax.__version__}")
        jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def main(argv):
    """Runs a command line and returns its exit code."""
    if any(a in ("-h", "--help", "-help", "--helpfull") for a in argv[1:]) or len(argv) == 1:
        print(usage())
        return 0
    try:
        config, workdir, mode = parse(argv)
        import experiment
        from experiment import checks

        if mode in NEED_DATA_SET and config.mixture.name:
            raise ConfigError(
                f'mixture.name="{config.mixture.name}" is no data set, and its denoiser is exact: there is '
                f"nothing to {mode}. Use --mode=sample, eval or encode, or a config with a data set."
            )
        if mode != "check":
            checks.require(config)
            experiment.resolve(config)
        _set_up_jax()
        importlib.import_module(MODES[mode][0]).run(config, workdir)
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        print(
            f"error: {error.strerror}: {error.filename or workdir}. Nothing saved is lost: mend this and "
            "run the same command again.",
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
