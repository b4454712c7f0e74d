"""Improved DDPM on CIFAR-10: cosine schedule, hybrid objective.

    python main.py --config=configs/improved_diffusion/cifar10_cosine_hybrid.py \
        --workdir=runs/improved_diffusion_cifar10_cosine_hybrid --mode=train

The published checkpoint `cifar10_uncond_50M_500K`. The paper gives no hours.

A variation: 100 calls, `--config.sampling.steps=99`, for which the learned variance is made.
"""

from configs.improved_diffusion import default
from configs.paper import Paper

PAPER = Paper(
    paper="Nichol & Dhariwal 2021",
    row="table 2, 4K cosine, L_hybrid",
    data="CIFAR-10, 32",
    parameters=52_546_438,
    published="FID 3.19; 3.17 bits/dim",
    seen="quoted",
)


def get_config():
    config = default.get_config()
    return config
