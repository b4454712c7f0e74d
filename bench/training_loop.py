"""The training loop beside its compiled steps, the time to a first step, and images decoded a second.

python -m bench.training_loop [steps] [start] [files]          (all three; quiet cores)
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from PIL import Image

import data
from configs import base, digits
from data.pipeline import Pipeline
from experiment.create import create
from experiment.run_data import open_splits
from modes import MODES, train
from parallel import layouts
from training.step import TrainStep
from workdir.records import Progress

# The network of configs/digits.py, and a small one for images that are 32x32x3.
STEPS, EVERY, BLOCK, ROUNDS = 200, 100, 20, 3
FILES, SIDE, BATCH = 2_000, 256, 64


def _rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def _config(name, folder):
    config = digits.get_config()
    config.training.update(
        {"steps": STEPS + 2 * EVERY, "log_every": EVERY, "eval_every": 0, "sample_every": 0}
    )
    config.checkpoint.every = EVERY
    if name == "32x32x3":
        # So small that a step is short beside the data, as on an accelerator.
        images = np.random.default_rng(0).integers(0, 256, (10_000, 32, 32, 3), dtype=np.uint8)
        np.savez(folder / "images.npz", images=images)
        config.data.source = f"npz:{folder / 'images.npz'}"
        config.model.update({"width": 8, "multipliers": (1,), "blocks": 1, "attention": ()})
    return config


def _bare(config):
    """A function (number of steps) -> seconds that so many compiled steps take in a loop of nothing else."""
    source = open_splits(config)["train"]
    data.resolve(config.data, source)
    experiment = create(config, MODES["train"].reads)
    layout, size = layouts.create(config.training), config.training.batch_size
    one_call = layout.compile(TrainStep.from_experiment(experiment, size))
    state, key = layout.place(experiment.create_state()), experiment.key("train")
    batch = layout.split({name: a[None] for name, a in source.batch(np.arange(size)).items()})

    def seconds(steps):
        nonlocal state
        begun = time.perf_counter()
        for _ in range(steps):
            state, metrics = one_call(state, batch, key)
        jax.block_until_ready(metrics)
        return time.perf_counter() - begun

    seconds(5)
    return seconds


class _InTurn(Progress):
    """The progress of a training loop, which after every `BLOCK` steps is held for as many steps alone.

    The speed of shared cores changes by a third within minutes, so that only neighbours can be compared.

    Attributes:
      alone: seconds(steps), see `_bare`.
      pairs: [blocks, 2] seconds of the loop's steps and of the steps alone.
    """

    alone, pairs = None, []

    def update(self, amount, **shown):
        super().update(amount, **shown)
        self._done = getattr(self, "_done", 0) + amount
        if self._done % BLOCK:
            return
        jax.block_until_ready(jax.live_arrays())
        if self._done > EVERY:  # what comes before holds the compilation
            self.pairs.append((time.perf_counter() - self._begun, self.alone(BLOCK)))
        self._begun = time.perf_counter()


def _ratios(config, workdir, alone):
    """Of each block the loop's time over that of its steps alone."""
    _InTurn.alone, _InTurn.pairs = staticmethod(alone), []
    train.Progress = _InTurn
    try:
        train.run(config, workdir)
    finally:
        train.Progress = Progress
    loop, steps = np.array(_InTurn.pairs).T
    return loop / steps


def _shares(config, workdir):
    """Shares of a run's time that its loop waits for data and does other work of the host."""
    train.run(config, workdir)
    # The first rows hold the compilation, and the last one the end of the run.
    rows = [row for row in _rows(workdir) if EVERY < row["step"] <= EVERY + STEPS]
    step, wait, host = (sum(row[f"seconds_{part}"] for row in rows) for part in ("step", "data", "host"))
    return wait / (step + wait + host), host / (step + wait + host)


def steps():
    """Prints the time of the loop over that of its steps alone, and the shares of data and saving."""
    print(f"images     images/s  loop / steps alone (quartiles)  data wait  saving every {EVERY} steps")
    for name in ("8x8x1", "32x32x3"):
        with tempfile.TemporaryDirectory() as folder:
            config = _config(name, Path(folder))
            alone = _bare(config.copy_and_resolve_references())
            rate = config.training.batch_size * EVERY / alone(EVERY)
            wait, saving = _shares(config.copy_and_resolve_references(), Path(folder) / "saving")
            config.checkpoint.every = config.training.steps
            ratios = _ratios(config, Path(folder) / "run", alone)
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        print(
            f"{name:8} {rate:10,.0f} {middle:15.3f} ({low:.3f} to {high:.3f}) {wait:10.2%} {saving:14.2%}",
            flush=True,
        )


def start():
    """Prints seconds from the command to the first step, with an empty compilation cache and a full one."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
        for name, rounds in (("cold", 1), ("warm", ROUNDS)):
            seconds = []
            for number in range(rounds):
                workdir = Path(folder) / f"{name}{number}"
                command = [sys.executable, "main.py", "--config=configs/digits.py", f"--workdir={workdir}"]
                begun = time.perf_counter()
                run = subprocess.Popen(
                    [*command, "--config.training.log_every=1"], env=environment, stderr=subprocess.DEVNULL
                )
                records = workdir / "metrics.jsonl"
                while run.poll() is None and not (records.exists() and records.stat().st_size):
                    time.sleep(0.01)
                seconds.append(time.perf_counter() - begun)
                run.kill()
                run.wait()
            print(f"first step of the demo, {name} compilation cache: {np.median(seconds):.1f} s", flush=True)


def files():
    """Prints how many JPEG files a second become batches, of photograph-like noise at quality 90."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for number in range(FILES):
            # Coarse noise made large, with some fine noise: 30 kB a file, as photographs of this size have.
            coarse = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            smooth = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
            noisy = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(Path(folder) / f"{number:05d}.jpg", quality=90)
        size = np.mean([path.stat().st_size for path in Path(folder).iterdir()])
        config = base.get_config().data
        config.update({"source": f"folder:{folder}", "image_size": SIDE, "memory_gib": 0.0, "holdout": 0.1})
        source = data.create(config, "train")
        pipeline = Pipeline(source, seed=0, batch_size=BATCH)
        rates = []
        for first in range(1, 1 + 3 * 10, 10):
            begun = time.perf_counter()
            for _ in pipeline.batches(first, first + 10):
                pass
            rates.append(10 * BATCH / (time.perf_counter() - begun))
        print(f"{SIDE}x{SIDE} JPEG of {size / 1e3:.0f} kB: {np.median(rates):,.0f} images/s")


if __name__ == "__main__":
    for part in sys.argv[1:] or ("steps", "start", "files"):
        {"steps": steps, "start": start, "files": files}[part]()
