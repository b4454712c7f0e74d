"""Improved DDPM on unconditional ImageNet of 64 x 64 pixels: cosine schedule, the bound as the objective.

    python main.py --config=configs/improved_diffusion/imagenet64_cosine_vlb.py \
        --workdir=runs/improved_diffusion_imagenet64_cosine_vlb --mode=train

The published checkpoint `imagenet64_uncond_vlb_100M_1500K`, the best likelihood of the paper. FID is of
10,000 samples, about 2 points too high for that. Memory: `--config.training.accumulation=4`.

A variation: `--config.training.steps=200000` (3.57 bits/dim, FID 56.7).
"""

from configs.improved_diffusion import default
from configs.paper import Paper

PAPER = Paper(
    paper="Nichol & Dhariwal 2021",
    row="table 1, 1.5M, 4K cosine, L_vlb",
    data="ImageNet (downsampled), 64",
    parameters=121_063_942,
    published="FID of 10,000 samples 40.1; 3.53 bits/dim",
    seen="quoted",
)


def get_config():
    config = default.get_config()
    default.imagenet64(config)
    default.bound_alone(config)
    return config
