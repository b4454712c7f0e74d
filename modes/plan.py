"""--mode=plan: what a training and its samples cost on chips that need not be there."""

import contextlib
import dataclasses

import jax

import data
from components import UserError, positive
from experiment import ahead
from experiment.create import create
from experiment.run_data import open_splits
from modes import MODES, check
from parallel import chips, devices, layouts, memory, topologies
from parallel.roofline import largest_share, roofline, sent, weak_scaling
from reports import figures, markdown
from reports import plan as shown
from workdir.records import say
from workdir.results import Results

FIELD = "plan.topology"
# What an experiment on image files has where its config does not say.
COMMON = {"channels": 3, "pixel_values": 256, "classes": 0}
GIB = memory.GIB


def refusals(config):
    """Lines about the subtree `plan`, and about `training` and `sampling` on its devices."""
    plan, training = config.plan, config.training
    yield from positive(plan, "plan", "compilations")
    yield from positive(training, "training", "steps", "accumulation")
    unknown = [*topologies.refusals(FIELD, plan.topology)]
    yield from unknown
    if unknown:
        return
    count = topologies.count(plan.topology)
    yield from layouts.refusals(training, count)
    if plan.sampler:
        host = topologies.count_of_host(plan.topology)
        yield from devices.uneven("sampling.batch_size", config.sampling.batch_size, host)
    if plan.sweep:
        yield from _refused_sweep(plan, training, count)


def _refused_sweep(plan, training, count):
    if plan.topology == topologies.LOCAL or count == 1:
        yield (
            f"plan.sweep={plan.sweep} needs what crosses chips: two TPU chips or more, "
            f"plan.topology=v5e:2x2; "
            f'found "{plan.topology}".'
        )
        return
    name = plan.topology.partition(":")[0]
    for chips_of_sweep in plan.sweep:
        lent = isinstance(chips_of_sweep, int) and chips.has_size(name, chips_of_sweep)
        if not lent or (training.fsdp > 0 and chips_of_sweep % training.fsdp):
            yield (
                f"plan.sweep={plan.sweep} must hold numbers of chips of slices of {name}, "
                f"{chips.sizes(name)}, that training.fsdp={training.fsdp} divides; found {chips_of_sweep}."
            )
            return


def require_files(config, workdir=None, record=None):
    """Raises UserError where programs for the topology cannot be compiled on this machine."""
    topologies.require_compiler(FIELD, config.plan.topology)


def learn(config):
    """Fills in what the network depends on in the data: from the data set, or what is common where that is
    not at hand and the config has the images' side.

    Raises:
      UserError: neither is known.
    """
    side = config.data.image_size
    try:
        data.resolve(config.data, open_splits(config)["train"])
    except UserError:
        if side is None:
            raise
        taken = {name: value for name, value in COMMON.items() if config.data[name] is None}
        config.data.update(taken)
        if config.data.classes:
            config.data.class_frequencies = (1 / config.data.classes,) * config.data.classes
        shown = ", ".join(f"data.{name}={value}" for name, value in taken.items())
        say(f"{config.data.source} is not at hand{f': taken are {shown}' if shown else ''}")


def run(config, workdir, output=None):
    """--mode=plan: compiles a training step and the sampler for `plan.topology`, and prints what they cost.

    Neither parameters nor devices are needed. With --workdir or --output it writes plan.json, plan.md and,
    with `plan.sweep`, plan.png.

    Raises:
      UserError: libtpu is not installed, or the data set that tells the images' side is not there.
    """
    require_files(config)
    learn(config)
    check.require("plan", config)
    results = Results(workdir, output) if workdir or output else None
    experiment = create(config, MODES["plan"].reads)
    local = config.plan.topology == topologies.LOCAL
    with contextlib.nullcontext() if local else topologies.uncached():
        found = _planned(config, experiment, topologies.devices(config.plan.topology))
    tables = shown.tables(found)
    _print(tables)
    if results is None:
        say("nothing is written; --output=DIR keeps plan.json and the tables")
        return
    lines = markdown.table(("", config.plan.topology), tables["plan"])
    if "sweep" in tables:
        lines += ["", *markdown.table(tables["sweep"][0], tables["sweep"][1:])]
    results.json("plan.json", found)
    results.write("plan.md", lambda path: path.write_text("\n".join(lines) + "\n"))
    if found["sweep"]:
        results.write("plan.png", figures.scaling_figure, found["sweep"], config.plan.topology)
    results.remove_others("plan.png")
    results.say_written()


def _planned(config, experiment, all_devices):
    """All figures, as plan.json has them."""
    training, count = config.training, len(all_devices)
    chip = chips.of_device(all_devices[0])
    limit = chip.memory if chip else memory.of_devices() / count
    params = experiment.params_template()
    search, programs = _Search(config, experiment, all_devices, limit), {}
    share = training.batch_size // count
    found = largest_share(search.measure, share, limit, config.plan.compilations, training.accumulation)
    if share in search.programs:
        programs["training"] = figures_of(search.programs[share], chip)
    compiled = max(search.programs, default=None) if share not in search.programs else share
    if config.plan.sampler:
        programs["sampling"] = _sampling(config, experiment, all_devices[0], chip)
    return {
        "topology": config.plan.topology,
        "devices": count,
        "device": all_devices[0].device_kind,
        "chip": chip and dataclasses.asdict(chip),
        "memory_limit": limit,
        "layout": {name: training[name] for name in ("parallel", "fsdp", "sharding", "accumulation")},
        "dtype": config.model.dtype or "float32",
        "rematerialization": config.model.rematerialization or "none",
        "parameters": _count(params),
        "batch_size": training.batch_size,
        "share": share,
        **programs,
        "too_large": search.refused.get(share),
        "largest_batch": {
            "batch_size": found.share and found.share * count,
            "too_large": found.too_large and found.too_large * count,
            "compiled": {str(share * count): size for share, size in sorted(found.tried.items())},
        },
        "sweep": _sweep(config, search.programs.get(compiled), compiled, count, chip),
    }


def _count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


class _Search:
    """Compiles training steps, and remembers them."""

    def __init__(self, config, experiment, all_devices, limit):
        self._config, self._experiment = config, experiment
        self._devices, self._limit = all_devices, limit
        self.programs, self.refused = {}, {}

    def measure(self, share):
        """(bytes of memory, whether it fits) of a training step with that share of the batch a device."""
        count = len(self._devices)
        batch_size = share * count
        say(f"compiling the training step for {count} x {self._devices[0].device_kind}, batch {batch_size}")
        try:
            program = ahead.training_step(self._experiment, self._config.training, self._devices, batch_size)
        except ahead.DoesNotFit as error:
            self.refused[share] = str(error).splitlines()[0]
            say(f"  does not fit: {self.refused[share]}")
            return error.needed, False
        self.programs[share] = program
        say(f"  {program.seconds:.0f} s; {program.memory / GIB:.2f} GiB a device")
        return program.memory, program.memory <= self._limit


def _sampling(config, experiment, device, chip):
    share = config.sampling.batch_size // topologies.count_of_host(config.plan.topology)
    say(f"compiling the sampler for 1 x {device.device_kind}, {share} samples")
    try:
        program, nfe = ahead.drawing(experiment, config.sampling, device, share)
    except ahead.DoesNotFit as error:
        say(f"  does not fit: {str(error).splitlines()[0]}")
        return {"share": share, "too_large": str(error).splitlines()[0]}
    say(f"  {program.seconds:.0f} s; {program.memory / GIB:.2f} GiB a device")
    return {"share": share, "nfe": nfe, **figures_of(program, chip)}


def figures_of(program, chip):
    """A Program, and what follows from it and the chip's figures, where these are known."""
    found = dataclasses.asdict(program)
    found["collectives"] = _by_kind(program.collectives)
    found["memory"] = program.memory
    if chip is None:
        return found
    least = roofline(program.flops, program.main, chip)
    exchange = sum(map(sent, program.collectives)) / chip.interconnect
    found["time"] = {
        "arithmetic": least.arithmetic,
        "main_memory": least.memory,
        "roofline": least.seconds,
        "limit": least.limit,
        "exchange": exchange,
        "utilization_bound": least.utilization(),
    }
    if program.cycles and chip.cycle_flops:
        seconds = chip.seconds(program.cycles)
        found["time"] |= {"cycles": seconds, "utilization": least.utilization(seconds + exchange)}
    return found


def _by_kind(collectives):
    found = {}
    for collective in collectives:
        total = found.setdefault(collective.kind, {"count": 0, "bytes": 0, "sent": 0.0})
        total["count"] += collective.times
        total["bytes"] += collective.times * collective.bytes
        total["sent"] += sent(collective)
    return found


def _sweep(config, program, share, count, chip):
    if not config.plan.sweep:
        return []
    if program is None:
        say("no table of chips: no training step fits")
        return []
    return scaled(program, share, config.plan.sweep, count, config.training.fsdp, chip)


def scaled(program, share, numbers, compiled_for, split_over, chip):
    """Dicts of the fields of roofline.Scaled, one for each of `numbers` of chips; see `weak_scaling`.

    The chip's own work is that of the program without its collectives: by XLA's cycles, and no less than the
    roofline.
    """
    by_cycles = chip.seconds(program.cycles) if chip.cycle_flops else 0.0
    compute = max(by_cycles, roofline(program.flops, program.main, chip).seconds)
    rows = weak_scaling(compute, program.collectives, share, numbers, compiled_for, split_over, chip)
    return [{**dataclasses.asdict(row), "chip_seconds": row.chip_seconds} for row in rows]


def _print(tables):
    print("\n".join(markdown.aligned(tables["plan"])))
    if "sweep" in tables:
        print("\n".join(["", *markdown.aligned(tables["sweep"], str.rjust)]))
