"""A training step and the drawing of samples, compiled ahead of time: from shapes alone, without parameters,
and for devices that need not be there.
"""

import dataclasses
import re
import time

import jax
import jax.numpy as jnp

from experiment.draw import NumberedSamples
from parallel import layouts, program_text
from training.step import TrainStep

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class DoesNotFit(Exception):
    """A program that needs more memory than its device has.

    Attributes:
      needed: bytes, or None where the compiler does not say.
    """

    def __init__(self, error):
        super().__init__(str(error))
        found = re.search(r"\(([\d.]+)([KMGT]?)\) exceeds|Used ([\d.]+)([KMGT]?) of", str(error))
        number, unit = [group for group in found.groups() if group is not None] if found else (None, None)
        self.needed = float(number) * _UNITS[unit] if found else None


@dataclasses.dataclass(frozen=True)
class Program:
    """What a compiled program costs each device in one call.

    Attributes:
      seconds: that the compilation took.
      flops, main: FLOPs and bytes of main memory; see parallel/program_text.py.
      cycles: XLA's estimate, without the collectives'; 0 where it makes none.
      optimum: XLA's estimate of the least seconds; None where it makes none.
      arguments, outputs, temporaries, aliased, code: bytes of memory; outputs that lie in the place of
        arguments are aliased.
      collectives: program_text.Collectives.
    """

    seconds: float
    flops: float
    main: float
    cycles: int
    optimum: float | None
    arguments: int
    outputs: int
    temporaries: int
    aliased: int
    code: int
    collectives: tuple

    @property
    def memory(self):
        """Bytes of memory while it runs."""
        return self.arguments + self.outputs - self.aliased + self.temporaries + self.code


def measured(lowered, devices):
    """The Program of a jax.stages.Lowered.

    Args:
      devices: that it runs on.

    Raises:
      DoesNotFit: the compiler refuses it.
    """
    begin = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise DoesNotFit(error) from error
    seconds, text = time.perf_counter() - begin, compiled.as_text()
    by_xla, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    costs = program_text.costs(text).values()
    main, cycles = (sum(cost[what] for cost in costs) for what in ("main", "cycles"))
    if _has_calls_of_libraries(devices[0]):
        main = by_xla["bytes accessed"]
    # Below 0 it says that it knows the speed of a part of the program alone.
    optimum = by_xla.get("optimal_seconds", 0.0)
    return Program(
        seconds=seconds,
        flops=flops(compiled, devices[0]),
        main=float(main),
        cycles=cycles,
        optimum=optimum if devices[0].platform == "tpu" and optimum > 0 else None,
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        collectives=tuple(program_text.collectives(text, len(devices))),
    )


def flops(compiled, device):
    """FLOPs of a device in a call of a jax.stages.Compiled, those that XLA computes twice counted twice.

    A program that is only lowered cannot be asked: JAX counts its FLOPs on CPUs alone.

    Args:
      device: one that it runs on.
    """
    if _has_calls_of_libraries(device):
        return float(compiled.cost_analysis()["flops"])
    return float(sum(cost["flops"] for cost in program_text.costs(compiled.as_text()).values()))


def _has_calls_of_libraries(device):
    """Whether convolutions are calls of a library, whose costs XLA alone can tell."""
    return device.platform == "gpu"


def training_step(experiment, config, devices, batch_size):
    """The Program of one optimizer step, as --mode=train compiles it with training.jitted_steps=1.

    Args:
      config: the subtree `training`; devices: of all processes; batch_size: in the place of the config's own.

    Raises:
      DoesNotFit: see `measured`.
    """
    step = TrainStep.from_experiment(experiment, batch_size, config.accumulation)
    step = dataclasses.replace(step, unroll=devices[0].platform == "cpu")
    batches = {"image": jax.ShapeDtypeStruct((1, batch_size, *experiment.shape), jnp.uint8)}
    if experiment.class_frequencies is not None:
        batches["label"] = jax.ShapeDtypeStruct((1, batch_size), jnp.int32)
    key = jax.eval_shape(lambda: experiment.key("train"))
    layout = layouts.create(config, devices)
    arguments = layout.templates(experiment.state_template(), batches, key)
    return measured(layout.compile(step).lower(*arguments), devices)


def drawing(experiment, config, device, share):
    """(the Program that draws `share` samples on a device, network calls a sample or None).

    A device draws its share of a batch by itself.

    Args:
      config: the subtree `sampling`.

    Raises:
      ConfigError, DoesNotFit: see NumberedSamples and `measured`.
    """
    samples = NumberedSamples(experiment, config, batch_size=share)
    examples = {"index": jax.ShapeDtypeStruct((share,), jnp.uint32)}
    if experiment.class_frequencies is not None:
        examples["label"] = jax.ShapeDtypeStruct((share,), jnp.int32)
    key = jax.eval_shape(lambda: experiment.key("sample"))
    on_device = jax.sharding.SingleDeviceSharding(device)
    arguments = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=on_device),
        ((experiment.params_template(), samples.sampler, key), examples),
    )
    return measured(jax.jit(samples.function).lower(*arguments), [device]), samples.nfe
