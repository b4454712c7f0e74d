"""The layouts that `training.parallel` chooses from: where a training step and its state live.

A layout has `place(state)`, `template(state)`, `split(batches)`, `compile(body)`,
`templates(state, batches, key)`, `to_save(state)`, `host(tree)` and `local(tree)`, and says of parameters
what cannot be, `unfit(params)`, and how they lie, `described(params)`; see those of parallel/devices.py. A
new one is a class and a line here.
"""

import re

import jax

from components import closest
from parallel.devices import Pmap, uneven
from parallel.mesh import Mesh

LAYOUTS = {
    "pmap": lambda config, devices: Pmap(devices),
    "mesh": lambda config, devices: Mesh(config.fsdp, tuple(map(tuple, config.sharding)), devices),
}


def create(config, devices=None):
    """The layout of the subtree `training`, one that `refusals` does not refuse.

    Args:
      devices: None: all of all processes.
    """
    return LAYOUTS[config.parallel](config, devices)


def refusals(config, devices=None):
    """Lines about what the subtree `training` says of devices.

    Args:
      devices: how many there are; None: those of all processes.
    """
    devices = devices or jax.device_count()
    if config.parallel not in LAYOUTS:
        yield (
            f'training.parallel="{config.parallel}" is unknown.{closest(config.parallel, LAYOUTS)} Known: '
            f"{', '.join(LAYOUTS)}."
        )
    elif config.parallel == "pmap":
        for field, plain in (("fsdp", 1), ("sharding", ())):
            if config[field] != plain:
                yield f'training.{field}={config[field]} is of training.parallel="mesh".'
    elif config.fsdp < 1 or devices % config.fsdp:
        yield (
            f"training.fsdp={config.fsdp} must be a divisor of the {devices} devices. A run may go on with "
            "another one."
        )
    for rule in config.sharding:
        yield from _refused(rule)
    yield from uneven("training.batch_size", config.batch_size, devices)
    share = config.batch_size // devices
    if config.accumulation > 1 and share % config.accumulation:
        yield (
            f"training.accumulation={config.accumulation} must divide the {share} examples of "
            f"training.batch_size={config.batch_size} on each device."
        )


def _refused(rule):
    pattern, tactic = rule
    try:
        re.compile(pattern)
    except re.error as error:
        yield f"training.sharding: {pattern!r} is no regular expression: {error}."
    if not re.fullmatch(r"replicated|fsdp(:\d)?", tactic):
        yield f"training.sharding: {tactic!r} is unknown. Known: replicated, fsdp, fsdp:0 (a dimension)."
