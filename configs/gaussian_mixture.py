"""Data whose score is known: sampling and evaluation without any network.

    python main.py --config=configs/gaussian_mixture.py:ring --workdir=runs/ring --mode=sample
    python main.py --config=configs/gaussian_mixture.py:ring,ve --workdir=runs/ring_ve --mode=eval

By argument: the mixture (gaussian, two_moons, ring, digits, images), then the forward
process (any of sde.name).
"""

from configs import base


def get_config(argument="ring"):
    mixture, _, sde = argument.partition(",")
    config = base.get_config()
    config.mixture.name = mixture
    config.sde.name = sde or "vp"
    config.sampling.predictor.name = "ancestral"
    config.sampling.steps = 500
    config.sampling.num_samples = 2_000 if mixture in ("gaussian", "two_moons", "ring") else 64
    config.eval.evaluators = ("loss", "two_sample", "bits_per_dim", "discrete_bound", "continuous_bound")
    config.eval.two_sample.num_samples = 2_000 if mixture in ("gaussian", "two_moons", "ring") else 500
    config.eval.max_images = 200
    config.eval.bound.images = 200
    config.eval.bound.grid = "log_snr"
    config.eval.bound.levels = 256
    config.eval.bits_per_dim.probe = "rademacher" if mixture == "images" else "exact"
    return config
