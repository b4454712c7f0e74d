"""Eight virtual CPU devices, a shared compilation cache, and what tests have in common."""

import gc
import importlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

# Half of the time of these tests is compilation of programs that then run once. The last flag, which later
# versions know no more, halves that time again; without XLA's own emitters of fusions an example's rounding
# depends on its batch, so that a test of that compiles with FUSED.
_COMPILE_QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
FUSED = {}
if version("jaxlib").startswith("0.10."):
    _COMPILE_QUICKLY += " --xla_cpu_use_fusion_emitters=false"
    FUSED = {"xla_cpu_use_fusion_emitters": True}


def _xla_flags(devices):
    return f"--xla_force_host_platform_device_count={devices} {_COMPILE_QUICKLY}"


os.environ["XLA_FLAGS"] = _xla_flags(8)
os.environ["JAX_PLATFORMS"] = "cpu"
ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax  # noqa: E402
import pytest  # noqa: E402

import main  # noqa: E402
from configs import base, digits  # noqa: E402

# A network that compiles in seconds, for what does not depend on its quality.
TINY = {
    "model.width": 8,
    "model.multipliers": (1,),
    "model.blocks": 1,
    "model.attention": (),
    "training.batch_size": 16,
    "training.log_every": 1,
    "training.eval_every": 0,
    "training.sample_every": 0,
    "sampling.steps": 5,
    "sampling.largest_bias": None,
    "sampling.batch_size": 16,
    "sampling.num_samples": 16,
    "eval.batch_size": 16,
    "eval.loss_levels": 3,
    "eval.max_images": 32,
    "eval.two_sample.num_samples": 32,
}


# Tracing makes many short-lived objects beside a heap that stays: the default of 700 new ones between
# collections spends up to a twentieth of the time of these tests.
gc.set_threshold(20_000, 20, 20)

# Files that take minutes, the longest first. A worker takes a file as a whole, so that what its tests share
# is made once; with these first, all workers end together.
_LONGEST = (
    "test_experiment_steps",
    "test_train",
    "test_labels",
    "test_readme",
    "test_faults",
    "test_variance",
    "test_experiments",
    "test_step",
    "test_exact",
    "test_refinenet",
    "test_losses",
    "test_bounds",
    "test_run_data",
    "test_export",
    "test_mixtures",
    "test_ema",
    "test_adaptive",
    "test_evaluators",
    "test_table",
    "test_import",
)


def pytest_collection_modifyitems(items):
    """The longest files first."""
    place = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(_LONGEST)))


# Compiling takes half as long again beside 1,300 live executables, which are some six memory maps each.
_MOST_MEMORY_MAPS = 8_000


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Frees compiled programs between files where they have become many."""
    maps = Path("/proc/self/maps")
    another_file = nextitem is None or nextitem.path != item.path
    if another_file and maps.exists() and maps.read_bytes().count(b"\n") > _MOST_MEMORY_MAPS:
        jax.clear_caches()


@pytest.fixture
def young_heap():
    """Leaves what earlier tests made out of garbage collection, whose time would count as this test's."""
    gc.freeze()
    yield
    gc.unfreeze()


def sampling(fields=None, **more):
    """The subtree `sampling` with fields changed; a name that stands in one of its groups alone finds it.

    sampling({"predictor": "edm", "order": 1}) sets predictor.name and predictor.order.
    """
    config = base.get_config().sampling
    for name, value in {**(fields or {}), **more}.items():
        path = name
        if name in config and hasattr(config[name], "items"):
            path = f"{name}.name"
        elif "." not in name and name not in config:
            (group,) = (
                group for group in config if hasattr(config[group], "items") and name in config[group]
            )
            path = f"{group}.{name}"
        config.update_from_flattened_dict({path: value})
    return config


def experiment_config(path):
    """The config of a file of configs/."""
    return importlib.import_module(path.removesuffix(".py").replace("/", ".")).get_config()


def as_flags(fields):
    """Fields as command-line overrides."""
    return [f"--config.{name}={value}" for name, value in fields.items()]


@pytest.fixture
def tiny_config():
    """The digits config with a tiny network."""
    config = digits.get_config()
    config.update_from_flattened_dict(TINY)
    return config


@pytest.fixture
def command():
    """Runs main.py in a process of its own: command("train", workdir, {...}, devices=1)."""

    def run(mode, workdir, fields=None, devices=1, check=True, **kwargs):
        done = subprocess.run(
            command_line(mode, workdir, fields),
            env=environment(devices),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            **kwargs,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def here(capsys):
    """Runs main.py in this process, without the start of another: here("eval", workdir, {...})."""

    def run(mode, workdir, fields, code=0):
        capsys.readouterr()
        assert main.main(command_line(mode, workdir, fields)[1:]) == code
        return capsys.readouterr()

    return run


def events(folder):
    """The events of the only file of events for TensorBoard in a folder."""
    (path,) = folder.iterdir()
    return read_events(path.read_bytes())


def read_events(content):
    """The events of a file for TensorBoard, given its bytes."""
    from tensorboardX.proto.event_pb2 import Event

    start, found = 0, []
    while start < len(content):
        # A record is its length in 8 bytes, 4 bytes of checksum, the event, 4 bytes of checksum.
        length = int.from_bytes(content[start : start + 8], "little")
        found.append(Event.FromString(content[start + 12 : start + 12 + length]))
        start += length + 16
    return found


def command_line(mode, workdir, fields=None):
    """The command that runs a mode on the tiny config with some fields changed."""
    fields = as_flags({**TINY, **(fields or {})})
    return [
        sys.executable,
        "main.py",
        "--config=configs/digits.py",
        f"--workdir={workdir}",
        f"--mode={mode}",
        *fields,
    ]


def environment(devices):
    """The environment of a process with that many virtual devices."""
    return {**os.environ, "XLA_FLAGS": _xla_flags(devices)}
