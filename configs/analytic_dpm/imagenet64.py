"""Analytic-DPM on unconditional ImageNet of 64 x 64 pixels.

    python main.py --config=configs/analytic_dpm/imagenet64.py \
        --workdir=runs/analytic_dpm_imagenet64 --mode=train

The paper takes the mean of the hybrid model of Nichol and Dhariwal (2021),
configs/improved_diffusion/imagenet64_cosine_hybrid.py; what trains here is that model with its mean alone.
4,000 levels.

A variation: the learned variance itself, on a run of that file (table 8: 8.46 bits/dim at K = 50,
Analytic-DDPM 4.42).
"""

from configs.analytic_dpm import default
from configs.paper import Paper

PAPER = Paper(
    paper="Bao et al. 2022",
    row="tables 1 and 2, ImageNet 64x64, K = 50",
    data="ImageNet (downsampled), 64",
    parameters=121_060_483,
    published="FID: DDPM 21.71, Analytic-DDPM 22.45, DDIM 20.10, Analytic-DDIM 19.23",
    seen="paper",
)


def get_config():
    config = default.get_config(schedule="iddpm", noise_levels=4_000)
    config.data.source = "tfds:downsampled_imagenet/64x64"
    config.data.image_size = 64
    default.improved_diffusion_network(config, (1, 2, 3, 4), dropout=0.0)
    config.denoiser.noise_input = "rescaled_index"
    config.training.steps = 1_500_000
    return config
