"""FID between the training and the test split of a data set, which for some is known from other tools.

python -m bench.data_fid --data=npz:cifar10.npz --resize=pytorch_fid

Its weights are those of make fid. Features are kept in eval.reference.folder: what was killed goes on where
it stopped, and a second time nothing is computed but the distance.
"""

import argparse
import json
import time

import metrics
from configs import base
from evaluation.features import create_extractor
from evaluation.reference import reference
from experiment.run_data import open_splits


def main():
    """Prints the figure with its interval, both numbers of images and the extractor."""
    config = base.get_config()
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--resize", default="tf1")
    parser.add_argument("--weights")
    parser.add_argument("--folder", default=config.eval.reference.folder)
    parser.add_argument("--batch", type=int, default=64)
    settings = parser.parse_args()
    config.data.source = settings.data
    config.eval.batch_size = settings.batch
    config.eval.reference.folder = settings.folder
    config.eval.features.weights, config.eval.features.resize = settings.weights, settings.resize
    extractor = create_extractor(config.eval.features)
    found = {}
    for split, source in open_splits(config).items():
        config.eval.reference.split = split
        found[split] = reference(extractor, config, source)
    start = time.perf_counter()
    figures = metrics.measure(("fid", "kid"), found["train"].features, found["test"].features)
    print(json.dumps({"extractor": extractor.identity, **figures}, indent=2))
    print(f"both from cached features in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
