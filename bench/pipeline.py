"""Images a second from memory to the model's range: shuffle, gather, flip, scale; 32x32x3, batch 128.

taskset -c 0 python -m bench.pipeline          (one core; make bench)
"""

import time

import jax
import numpy as np

from data.pipeline import Pipeline
from data.source import Source
from data.transforms import Transform
from sde_lib.noise import root_key

COUNT, BATCH, STEPS = 50_000, 128, 400


def main():
    """Prints the throughput of the host's part, and of all of it with flips and scaling."""
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
    pipeline = Pipeline(Source(images, None, 256, "random"), seed=0, batch_size=BATCH)
    transform = Transform(256, random_flip=True)
    key = root_key(0)

    @jax.jit
    def finish(step, batch):
        keys = jax.random.split(jax.random.fold_in(key, step), BATCH)
        return transform.training(keys, batch["image"])

    jax.block_until_ready(finish(0, pipeline.batch(0)))
    for name, work in (
        ("shuffle and gather (uint8, host)", lambda step: pipeline.batch(step)),
        ("and flip, scale to float32 (jit)", lambda step: finish(step, pipeline.batch(step))),
    ):
        rates = []
        for _ in range(5):
            start = time.perf_counter()
            for step in range(STEPS):
                result = work(step)
            jax.block_until_ready(result)
            rates.append(BATCH * STEPS / (time.perf_counter() - start))
        print(f"{name:36} {np.median(rates):12,.0f} images/s")


if __name__ == "__main__":
    main()
