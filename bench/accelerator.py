"""How fast experiments train on the accelerator at hand: whole training steps as `--mode=train` runs them.

    python -m bench.accelerator unet:bfloat16:256 unet:float32:256 --trace=trace
    python -m bench.accelerator ddpmpp:bfloat16:128 --steps=30 --peer="other/python peer.py"

A case is a network, the type that it computes in (float32 has TF32 products on GPUs) and a batch. Programs
are compiled side by side and timed one after the other, from batches that lie on the device: what a program
does alone. MFU is the share of the chip's peak, by the FLOPs of the compiled step. With
`--trace` a few steps are traced, and the time of each kernel is written beside its operation's name.

A peer is a command that prints "ready", then reads a case from a line of its input and answers with one line:
what it measured, or "none".
"""

import argparse
import concurrent.futures
import dataclasses
import importlib
import json
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiment import ahead
from experiment.create import create
from modes import MODES
from parallel import chips, layouts
from sde_lib.numerics import fix_numerics
from training.step import TrainStep

EXPERIMENTS = {
    "unet": "configs.speed_run",
    "ddpmpp": "configs.vp.cifar10_ddpmpp_continuous",
    "ncsnpp": "configs.ve.cifar10_ncsnpp_continuous",
}
WARM_UP = 3


@dataclasses.dataclass
class Program:
    """A compiled training step.

    Attributes:
      case: its name; batch: examples a step.
      state, batches, key: what it is called with; compiled: the step.
      seconds: of tracing and of compilation; flops: of a step.
    """

    case: str
    batch: int
    state: Any
    batches: Any
    key: Any
    compiled: Any
    seconds: tuple
    flops: float

    def steps(self, count):
        """Runs so many steps, and waits for the last."""
        for _ in range(count):
            self.state, metrics = self.compiled(self.state, self.batches, self.key)
        return jax.block_until_ready(metrics)


def config_of(case, jitted_steps=1):
    """The config of a case, `network:dtype:batch`, with CIFAR-10's shape and no data behind it."""
    network, dtype, batch = case.split(":")
    config = importlib.import_module(EXPERIMENTS[network]).get_config()
    config.model.dtype = dtype
    config.training.batch_size = int(batch)
    config.training.jitted_steps = jitted_steps
    config.data.image_size, config.data.channels = 32, 3
    config.data.pixel_values, config.data.classes = 256, 0
    return config


def traced(case):
    """(TrainStep's function lowered, its arguments, seconds of tracing) of a case."""
    config = config_of(case)
    experiment = create(config, MODES["train"].reads)
    batch = config.training.batch_size
    layout = layouts.create(config.training)
    step = layout.compile(TrainStep.from_experiment(experiment, batch))
    images = np.random.default_rng(0).integers(0, 256, (1, batch, 32, 32, 3), np.uint8)
    state = layout.place(experiment.create_state())
    arguments = state, layout.split({"image": images}), experiment.key("train")
    begin = time.perf_counter()
    return step.lower(*arguments), arguments, time.perf_counter() - begin


def compiled(case, lowered, arguments, tracing):
    """The Program of a case that was traced."""
    begin = time.perf_counter()
    program = lowered.compile()
    seconds = tracing, time.perf_counter() - begin
    state, batches, key = arguments
    flops = ahead.flops(program, jax.devices()[0])
    return Program(case, int(case.split(":")[2]), state, batches, key, program, seconds, flops)


def peak(case):
    """FLOP/s that the chip could do, or None where it is not known."""
    chip = chips.of_device(jax.devices()[0])
    # NVIDIA's units do half as many products in TF32.
    return chip and chip.flops / (1 if "bfloat16" in case else 2)


def measured(program, steps):
    """A dict of one Program's figures."""
    begin = time.perf_counter()
    program.steps(1)
    first = time.perf_counter() - begin
    program.steps(WARM_UP)
    begin = time.perf_counter()
    program.steps(steps)
    seconds = (time.perf_counter() - begin) / steps
    memory = jax.devices()[0].memory_stats() or {}
    most = peak(program.case)
    return {
        "case": program.case,
        "images_per_second": program.batch / seconds,
        "milliseconds_a_step": 1e3 * seconds,
        "gflop_an_image": program.flops / program.batch / 1e9,
        "mfu": program.flops / seconds / most if most else None,
        "trace_seconds": program.seconds[0],
        "compile_seconds": program.seconds[1],
        "first_call_seconds": first,
        "peak_gib": memory.get("peak_bytes_in_use", 0) / 2**30,
    }


def kernels(program, folder, steps=3):
    """Rows (kernel, operation, seconds a step, calls a step) of a traced Program, the longest first."""
    jax.profiler.start_trace(str(folder))
    program.steps(steps)
    jax.profiler.stop_trace()
    found = {}
    for path in Path(folder).rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            if not plane.name.startswith(("/device:GPU", "/device:TPU")):
                continue
            for line in plane.lines:
                if not line.name.lower().startswith(("stream", "xla ops")):
                    continue
                for event in line.events:
                    stats = {str(name): value for name, value in event.stats}
                    operation = str(stats.get("tf_op") or stats.get("name") or stats.get("hlo_op") or "")
                    row = found.setdefault((event.name, str(stats.get("hlo_op", "")), operation), [0.0, 0])
                    row[0] += event.duration_ns * 1e-9 / steps
                    row[1] += 1 / steps
    return sorted(((*names, *row) for names, row in found.items()), key=lambda row: -row[3])


def main():
    """Prints one line of JSON a case, as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", help="network:dtype:batch")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--trace", help="folder for traces and tables of kernels")
    parser.add_argument(
        "--peer", action="append", default=[], help="command that times another implementation"
    )
    arguments = parser.parse_args()
    fix_numerics()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    peers = [subprocess.Popen(shlex.split(command), **pipes) for command in arguments.peer]
    begin = time.perf_counter()
    lowered = {case: traced(case) for case in arguments.cases}
    with concurrent.futures.ThreadPoolExecutor(len(lowered)) as pool:
        found = {case: pool.submit(compiled, case, *of_case) for case, of_case in lowered.items()}
        programs = {case: future.result() for case, future in found.items()}
    print(f"traced and compiled side by side in {time.perf_counter() - begin:.1f} s", flush=True)
    for peer in peers:
        print("peer:", peer.stdout.readline().strip(), flush=True)
    for case, program in programs.items():
        print(json.dumps(measured(program, arguments.steps)), flush=True)
        for peer in peers:
            print(case, file=peer.stdin, flush=True)
            print("peer:", peer.stdout.readline().strip(), flush=True)
    if arguments.trace:
        for case, program in programs.items():
            folder = Path(arguments.trace) / case.replace(":", "_")
            folder.mkdir(parents=True, exist_ok=True)
            (folder.parent / f"{folder.name}.json").write_text(json.dumps(kernels(program, folder)))
    for peer in peers:
        peer.stdin.close()
        peer.wait()


if __name__ == "__main__":
    main()
