"""Improved DDPM on CIFAR-10: cosine schedule, the bound as the objective.

    python main.py --config=configs/improved_diffusion/cifar10_cosine_vlb.py \
        --workdir=runs/improved_diffusion_cifar10_cosine_vlb --mode=train

The published checkpoint `cifar10_uncond_vlb_50M_500K`: the paper's best likelihood on CIFAR-10, and worse
samples than with the hybrid objective.

A variation: `--config.loss.time_sampling=uniform`, whose gradients the paper shows to be far noisier.
"""

from configs.improved_diffusion import default
from configs.paper import Paper

PAPER = Paper(
    paper="Nichol & Dhariwal 2021",
    row="table 2, 4K cosine, L_vlb",
    data="CIFAR-10, 32",
    parameters=52_546_438,
    published="FID 11.47; 2.94 bits/dim",
    seen="quoted",
)


def get_config():
    config = default.get_config()
    default.bound_alone(config)
    return config
