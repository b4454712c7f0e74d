"""Improved DDPM on CIFAR-10: cosine schedule, simple objective.

    python main.py --config=configs/improved_diffusion/cifar10_cosine_simple.py \
        --workdir=runs/improved_diffusion_cifar10_cosine_simple --mode=train

Beside the hybrid objective it shows what learning the variance costs in FID, and what it brings to
likelihoods.

A variation: `--config.sampling.variance=small --config.eval.bound.variance=small`.
"""

from configs.improved_diffusion import default
from configs.paper import Paper

PAPER = Paper(
    paper="Nichol & Dhariwal 2021",
    row="table 2, 4K cosine, L_simple",
    data="CIFAR-10, 32",
    parameters=52_542_979,
    published="FID 3.05; 3.26 bits/dim",
    seen="quoted",
)


def get_config():
    config = default.get_config()
    default.mean_alone(config)
    return config
