"""Overrides of every field by values that fit, nearly fit, and do not."""

import numpy as np

from configs import base, schema
from experiment.create import FAMILIES, subtree
from modes import MODES
from tests.fuzz import trial

CONFIGS = (
    "digits.py",
    "digits.py:ve",
    "gaussian_mixture.py:ring",
    "gaussian_mixture.py:images,edm",
    "images.py",
)
NUMBERS = """
    0 1 -1 2 3 5 0.5 1.5 -0.5 1e-9 nan inf -inf 1e2 1e5 1e20 -1e20 1e400 1e-40 1e-300 1e300 2147483640
    2147483647 2147483648 4294967296 1e11 9223372036854775808 0x10 1_000 None True foo '1' 1e99999999
"""
TUPLES = """
    () (1,) (1,2) (0.9,) (1,0.5,0.1) (nan,) (1e400,) ('x',) ((1,),) (-1,) (2147483648,) 1 foo ( {} [1,2]
    (None,) (True,) 1e400 (1,'a') {1:2} ((((((1)))))) 0 (0,) (1e-40,)
"""
TRUTHS = "True False true 1 0 2 maybe None"
NUMBERS, TUPLES, TRUTHS = (text.split() for text in (NUMBERS, TUPLES, TRUTHS))
TEXTS = ["foo", "None", "~", "~/x", "gs://bucket/x", "/proc/nowhere", "/tmp", "a b", "é", "x" * 300, ""]
TEXTS += ["a\nb", "\0", "{}"]
DICTS = ["{}", "{", "{'name': 'foo'}", "{'name': 3}", "{1: 2}", "{'foo': 1}", "{'a.b': 1}", "{'name': None}"]


def _names(path):
    """What a name at this path may be, of the tables that are known to choose by it."""
    table = FAMILIES.get(path.rpartition(".")[0]) if path.endswith(".name") else None
    return list(table or ())


def _value(generator, path, kind):
    if kind is str:
        pool = TEXTS + 3 * _names(path)
    else:
        pool = {int: NUMBERS, float: NUMBERS, bool: TRUTHS, tuple: TUPLES}[kind]
    # Now and then that of another kind.
    if generator.random() < 0.05:
        pool = [*NUMBERS, *TUPLES, *TRUTHS, *TEXTS]
    return pool[generator.integers(len(pool))]


def _override(generator, fields):
    paths = list(fields)
    path = paths[generator.integers(len(paths))]
    form = generator.random()
    if form < 0.02:
        return f"--config.{path}"
    if form < 0.04:
        return f"--noconfig.{path}"
    group = path.rpartition(".")[0]
    if form < 0.08 and group:
        value = DICTS[generator.integers(len(DICTS))]
        if form < 0.06 and "name" in subtree(base.get_config(), group):
            known = list(FAMILIES.get(group, ["adam"]))
            value = f"{{'name': '{known[generator.integers(len(known))]}'}}"
        return f"--config.{group}={value}"
    return f"--config.{path}={_value(generator, path, fields[path].kind)}"


def commands(seed, count):
    """Yields command lines with `count` overrides together, one to four each."""
    generator, fields = np.random.default_rng(seed), schema.fields()
    modes = [name for name in MODES if name not in ("check", "prepare")]
    while count > 0:
        several = min(int(generator.integers(1, 5)), count)
        count -= several
        config = CONFIGS[generator.integers(len(CONFIGS))]
        mode = modes[generator.integers(len(modes))]
        yield [
            f"--config=configs/{config}",
            "--mode=check",
            f"--for={mode}",
            *(_override(generator, fields) for _ in range(several)),
        ]


def run(seed, count):
    """Checks `count` overrides; returns how many commands ended with each exit code.

    Raises:
      trial.Fault: the first fault.
    """
    codes = {}
    for command in commands(seed, count):
        code, _ = trial.run(command)
        codes[code] = codes.get(code, 0) + 1
    return codes
