"""Improved DDPM on CIFAR-10: linear schedule, simple objective, 1,000 levels.

    python main.py --config=configs/improved_diffusion/cifar10_linear_simple.py \
        --workdir=runs/improved_diffusion_cifar10_linear_simple --mode=train

DDPM with the better network; the row that the others improve on.

A variation: `--config.sde.noise_levels=4000 --config.loss.noise_levels=4000 --config.sampling.steps=3999
--config.eval.bound.levels=4000` (FID 2.90; 3.37 bits/dim).
"""

from configs.improved_diffusion import default
from configs.paper import Paper

PAPER = Paper(
    paper="Nichol & Dhariwal 2021",
    row="table 2, 1K linear, L_simple",
    data="CIFAR-10, 32",
    parameters=52_542_979,
    published="FID 3.29; 3.73 bits/dim",
    seen="quoted",
)


def get_config():
    config = default.get_config()
    default.levels(config, 1_000, "ddpm")
    default.mean_alone(config)
    config.model.dropout = 0.1
    return config
