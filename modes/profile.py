"""--mode=profile: where the time of a training step goes, measured on a few of them."""

import contextlib
import tempfile

import jax

import data
from components import positive
from data.pipeline import Pipeline
from experiment import ahead
from experiment.create import create
from experiment.run_data import open_splits
from modes import MODES, check
from parallel import chips, layouts, memory, trace
from reports import markdown
from training.step import TrainStep
from training.watch import Stopwatch
from workdir.records import say
from workdir.results import Results

# Calls before the measured ones: the first fills caches, and the queue of the device with it.
UNMEASURED = 2
LONGEST = 10


def refusals(config):
    """Lines about the subtrees `profile` and `training`."""
    yield from positive(config.profile, "profile", "steps")
    yield from positive(config.training, "training", "batch_size", "jitted_steps", "accumulation")
    yield from layouts.refusals(config.training)


def run(config, workdir, output=None):
    """--mode=profile: prints how long a training step takes, what waits for data, and what of the network and
    the optimizer takes how much of it.

    A few steps are trained from the start and thrown away. With --workdir or --output it writes
    profile/, a trace for XProf and Perfetto, and profile.json and profile.md.

    Raises:
      UserError: no data set, or memory that does not suffice.
    """
    sources = open_splits(config)
    data.resolve(config.data, sources["train"])
    check.require("profile", config)
    results = Results(workdir, output) if workdir or output else None
    experiment = create(config, MODES["profile"].reads)
    with contextlib.nullcontext() if results else tempfile.TemporaryDirectory() as folder:
        folder = results.folder / "profile" if results else folder
        found = _measured(config, experiment, sources["train"], folder)
    tables = _tables(found)
    for rows in tables:
        print("\n".join([*markdown.aligned(rows), ""]))
    if results is None:
        say("nothing is written; --output=DIR keeps the trace and the tables")
        return
    lines = [line for rows in tables for line in (*markdown.table(rows[0], rows[1:]), "")]
    results.json("profile.json", found)
    results.write("profile.md", lambda path: path.write_text("\n".join(lines)))
    results.say_written()


def _measured(config, experiment, source, folder):
    """All figures, as profile.json has them."""
    training = config.training
    layout, jitted = layouts.create(training), training.jitted_steps
    body = TrainStep.from_experiment(experiment, training.batch_size, training.accumulation)
    pipeline = Pipeline(source, config.seed, training.batch_size, jax.process_index(), jax.process_count())
    calls = UNMEASURED + _calls(config)
    clock, key = Stopwatch(), experiment.key("train")
    batches = pipeline.batches(0, calls * jitted, jitted)

    def arguments():
        with clock.of("data"):
            batch = next(batches)
        return state, layout.split(batch), key

    state = layout.place(experiment.create_state())
    say("compiling the step")
    with memory.guarded("profiling", "training.batch_size", "model.width"):
        first = arguments()
        program = layout.compile(body).lower(*first).compile()
        state, metrics = program(*first)
        for _ in range(UNMEASURED - 1):
            state, metrics = program(*arguments())
        jax.block_until_ready(metrics)
        clock.split(1)
        with trace.recorded(folder):
            for _ in range(_calls(config)):
                state, metrics = program(*arguments())
            jax.block_until_ready((state, metrics))
    steps = _calls(config) * jitted
    seconds, text = clock.split(steps), program.as_text()
    flops = ahead.flops(program, jax.devices()[0]) / jitted
    chip = chips.of_device(jax.devices()[0])
    whole = sum(seconds.values())
    return {
        "devices": jax.device_count(),
        "device": jax.devices()[0].device_kind,
        "batch_size": training.batch_size,
        "steps": steps,
        **seconds,
        "images_per_second": training.batch_size / whole,
        "gflop_a_device": flops / 1e9,
        "mfu": flops / whole / chip.flops if chip else None,
        **memory.in_use(),
        "instructions": trace.times(folder, text, steps * jax.local_device_count()),
    }


def _calls(config):
    """How many calls of the compiled program are measured."""
    return -(-config.profile.steps // config.training.jitted_steps)


def _tables(found):
    """[rows] of three tables, each with its header first."""
    milliseconds = {name: f"{1e3 * found[f'seconds_{name}']:.3g}" for name in ("step", "data", "host")}
    whole = sum(found[f"seconds_{name}"] for name in milliseconds)
    rows = [
        ("a step", f"of {found['batch_size']} images on {found['devices']} x {found['device']}"),
        ("ms", f"{1e3 * whole:.4g}: device {milliseconds['step']}, waiting for data {milliseconds['data']}"),
        ("images/s", f"{found['images_per_second']:.4g}"),
        ("GFLOP a device", f"{found['gflop_a_device']:.4g}"),
    ]
    if found["mfu"] is not None:
        rows.append(("MFU", f"{found['mfu']:.1%}"))
    if "device_memory_peak_gib" in found:
        rows.append(("memory", f"{found['device_memory_peak_gib']:.2f} GiB at most"))
    by_kind, total = {}, sum(row["seconds"] for row in found["instructions"]) or 1.0
    for row in found["instructions"]:
        by_kind[row["kind"]] = by_kind.get(row["kind"], 0.0) + row["seconds"]
    kinds = sorted(by_kind.items(), key=lambda item: -item[1])
    # What runs at once, on a CPU, may also add up to more than the step.
    rest = max(found["seconds_step"] - total, 0.0)
    longest = found["instructions"][:LONGEST]
    return [
        rows,
        [
            ("what", "ms a step", "of all instructions"),
            *((kind, f"{1e3 * seconds:.3g}", f"{seconds / total:.1%}") for kind, seconds in kinds),
            ("in no instruction", f"{1e3 * rest:.3g}", ""),
        ],
        [
            ("instruction", "what", "ms a step", "where it comes from"),
            *((r["name"], r["kind"], f"{1e3 * r['seconds']:.3g}", r["place"]) for r in longest),
        ],
    ]
