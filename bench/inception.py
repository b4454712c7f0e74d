"""Images a second through FID's Inception-v3, ours beside TorchScript's run of the same weights, in turn.

python -m bench.inception            (torch from requirements/bench.txt, weights from make fid; CPU seconds of
                                      this process beside the clock's, since cores may be shared)
"""

import argparse
import time

import jax
import numpy as np

from configs import base
from evaluation.features import create_extractor
from importers import inception

SIDE = 299


def measured(compute, count):
    """(images a second by the clock, CPU seconds an image) of one call."""
    start, used = time.perf_counter(), time.process_time()
    compute()
    return count / (time.perf_counter() - start), (time.process_time() - used) / count


def main():
    """Prints the medians of the rates, their ratio, and how far the features differ."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    settings = parser.parse_args()
    import torch

    features = base.get_config().eval.features
    features.resize = "none"
    extractor = create_extractor(features)
    images = np.random.default_rng(0).integers(0, 256, (settings.batch, SIDE, SIDE, 3), dtype=np.uint8)
    script = torch.jit.load(str(inception.packaged())).eval()

    def ours():
        return extractor.features(images, settings.batch)["features"]

    def theirs():
        with torch.inference_mode():
            x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
            return script(x.contiguous()).numpy()

    ways = {"ours": ours, "TorchScript": theirs}
    found = {name: way() for name, way in ways.items()}
    theirs()  # TorchScript compiles in its second call
    print(f"{jax.device_count()} {jax.devices()[0].device_kind}, {torch.get_num_threads()} threads of torch")
    print(f"features differ by {np.abs(found['ours'] - found['TorchScript']).max():.2g} at most")
    rounds = [[measured(way, settings.batch) for way in ways.values()] for _ in range(settings.rounds)]
    medians = np.median(rounds, axis=0)
    for name, (rate, cpu) in zip(ways, medians, strict=True):
        print(f"{name:12} {rate:8.2f} images/s {cpu * 1000:8.1f} ms of CPU an image")
    (rate, cpu), (their_rate, their_cpu) = medians
    print(f"ours / TorchScript: {rate / their_rate:.2f} by the clock, {their_cpu / cpu:.2f} by CPU seconds")


if __name__ == "__main__":
    main()
