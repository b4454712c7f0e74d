"""What metrics cost on cached features of Inception's size, and FID beside pytorch-fid's formula, in one run.

    python -m bench.metrics [--count 50000] [--dimensions 2048] [--peer] [--neighbours]

Drawn features, float32. FID: the reference's root computed before, as evaluation keeps it; with its standard
error and without. --peer: the matrix root of the product by scipy.linalg.sqrtm, as pytorch-fid has it, on the
same moments. --neighbours: the metrics of pairs of examples too, 100 subsets of KID among them.
"""

import argparse
import time

import numpy as np
import scipy.linalg

from metrics.frechet import covariance_root, distance_and_influence, frechet_distance, moments
from metrics.kernel import kernel_distance
from metrics.neighbours import density_coverage, memorization, precision_recall


def timed(name, function):
    """The result of a function, whose seconds of the wall and of processors are printed."""
    wall, cpu = time.monotonic(), time.process_time()
    result = function()
    print(f"| {name} | {time.monotonic() - wall:.1f} | {time.process_time() - cpu:.1f} |", flush=True)
    return result


def features(count, dimensions, seed):
    """[count, dimensions] float32 with a spectrum that falls as one over the rank."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, dimensions + 1, dtype=np.float32) ** -0.5
    mix = np.linalg.qr(np.random.default_rng(1).standard_normal((dimensions, dimensions)))[0]
    return (rng.standard_normal((count, dimensions), np.float32) * spectrum) @ mix.astype(np.float32)


def peer(a, b):
    """pytorch-fid's formula."""
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    squares = np.sum((a.mean - b.mean) ** 2)
    return squares + np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.trace(root)


def main():
    """Prints the seconds of each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--peer", action="store_true", help="beside scipy.linalg.sqrtm")
    parser.add_argument("--neighbours", action="store_true", help="metrics of pairs of examples")
    arguments = parser.parse_args()
    real, generated = (features(arguments.count, arguments.dimensions, seed) for seed in (0, 2))
    generated *= 1.05
    print("| part | s | CPU s |\n|---|--:|--:|")
    reference = moments(real)
    root = timed("the reference's root, once", lambda: covariance_root(reference.covariance))
    own = timed("moments of the generated features", lambda: moments(generated))
    distance = timed("Frechet distance", lambda: frechet_distance(reference, own, root))
    again, _ = timed(
        "Frechet distance and its standard error",
        lambda: distance_and_influence(reference, own, generated, root),
    )
    print(f"FID {distance:.9f}, with its standard error {again:.9f}")
    if arguments.peer:
        found = timed("pytorch-fid's formula", lambda: peer(reference, own))
        print(f"pytorch-fid's formula: {found:.9f}")
    if arguments.neighbours:
        timed("KID, 100 subsets of 1,000", lambda: kernel_distance(real, generated))
        timed("precision and recall", lambda: precision_recall(real, generated))
        timed("density and coverage", lambda: density_coverage(real, generated))
        timed("memorization", lambda: memorization(real, generated))


if __name__ == "__main__":
    main()
