"""Our metrics beside the code of pytorch-fid, clean-fid, torch-fidelity and prdc, on the same features.

    python -m bench.metric_peers [--large]

Needs `pip install torch torchvision torch-fidelity clean-fid pytorch-fid prdc`. Features are drawn: of
full rank, fewer than dimensions, with constant columns, with doubled columns; --large: of 2,048 and 768
dimensions. Prints each figure of ours with the peer's, and the absolute difference.
"""

import argparse
import contextlib
import io

import numpy as np
import torch
from cleanfid import fid as clean_fid
from prdc import compute_prdc
from pytorch_fid import fid_score as pytorch_fid
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from metrics.frechet import frechet_distance, moments
from metrics.inception_score import inception_score
from metrics.kernel import squared_discrepancy
from metrics.neighbours import density_coverage, precision_recall

SUBSETS, SEED = 20, 2020


def cases(large):
    """Yields (name, real [N, D] float32, generated [M, D] float32)."""
    rng = np.random.default_rng(0)

    def drawn(count, dimensions, shift=0.0):
        spectrum = np.arange(1, dimensions + 1) ** -0.5
        mix = np.linalg.qr(np.random.default_rng(1).standard_normal((dimensions, dimensions)))[0]
        return ((rng.standard_normal((count, dimensions)) * spectrum) @ mix + shift).astype(np.float32)

    if large:
        yield "2,048 dimensions, 3,000 and 2,500", drawn(3000, 2048), drawn(2500, 2048, 0.02)
        yield "768 dimensions, 300 and 200", drawn(300, 768), drawn(200, 768, 0.02)
        return
    yield "full rank", drawn(2000, 64), drawn(1500, 64, 0.1)
    yield "fewer than dimensions", drawn(60, 128), drawn(50, 128, 0.1)
    real, generated = drawn(1000, 64), drawn(800, 64, 0.1)
    real[:, ::4], generated[:, ::4] = 0.5, 0.5
    yield "constant columns", real, generated
    real, generated = drawn(1000, 32), drawn(800, 32, 0.1)
    yield "doubled columns", np.repeat(real, 2, axis=1), np.repeat(generated, 2, axis=1)


def frechet(real, generated):
    """Yields (figure, ours, peer's name, its figure)."""
    ours = frechet_distance(moments(real), moments(generated))
    pairs = [(a.mean(axis=0), np.cov(a, rowvar=False)) for a in (real, generated)]
    statistics = [dict(zip(("mu", "sigma"), pair, strict=True)) for pair in pairs]
    found = {
        "pytorch-fid": pytorch_fid.calculate_frechet_distance(*pairs[0], *pairs[1]),
        "clean-fid": clean_fid.frechet_distance(*pairs[0], *pairs[1]),
        "torch-fidelity": fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"],
    }
    for peer, distance in found.items():
        yield "FID", ours, peer, distance


def others(real, generated):
    """The same of the other metrics."""
    tensors = torch.from_numpy(generated), torch.from_numpy(real)
    size = min(200, len(generated), len(real))
    choose, values = np.random.RandomState(SEED), []
    for _ in range(SUBSETS):
        first = generated[choose.choice(len(generated), size, replace=False)]
        values.append(squared_discrepancy(real[choose.choice(len(real), size, replace=False)], first))
    found = kid_features_to_metric(
        *tensors, kid_subsets=SUBSETS, kid_subset_size=size, rng_seed=SEED, verbose=False
    )
    yield "KID", np.mean(values), "torch-fidelity", found["kernel_inception_distance_mean"]
    yield "KID deviation", np.std(values), "torch-fidelity", found["kernel_inception_distance_std"]
    np.random.seed(SEED)
    yield "KID", np.mean(values), "clean-fid", clean_fid.kernel_distance(real, generated, SUBSETS, size)
    score, found = inception_score(generated), isc_features_to_metric(tensors[0], shuffle=False)
    yield "IS", score["value"], "torch-fidelity", found["inception_score_mean"]
    yield "IS deviation", score["standard_deviation"], "torch-fidelity", found["inception_score_std"]
    size = min(len(real), len(generated))
    ours = precision_recall(real, generated)
    found = prc_features_to_metric(*(tensor[:size] for tensor in tensors), prc_neighborhood=3, verbose=False)
    peer = compute_prdc(real[:size], generated[:size], 3)
    for name in ("precision", "recall"):
        yield name, ours[name], "torch-fidelity", found[name]
        yield name, ours[name], "prdc", peer[name]
    ours, peer = density_coverage(real, generated), compute_prdc(real, generated, 5)
    for name in ("density", "coverage"):
        yield name, ours[name], "prdc", peer[name]


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="2,048 and 768 dimensions, FID only; minutes")
    arguments = parser.parse_args()
    print("| features | figure | ours | peer | its figure | difference |\n|---|---|--:|---|--:|--:|")
    for case, real, generated in cases(arguments.large):
        real, generated = real.astype(np.float64), generated.astype(np.float64)
        for compare in (frechet, *([] if arguments.large else [others])):
            # The peers print what they do.
            with contextlib.redirect_stdout(io.StringIO()):
                found = list(compare(real, generated))
            for name, ours, peer, figure in found:
                print(f"| {case} | {name} | {ours:.8f} | {peer} | {figure:.8f} | {abs(ours - figure):.1e} |")


if __name__ == "__main__":
    main()
