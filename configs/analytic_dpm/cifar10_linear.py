"""Analytic-DPM on CIFAR-10 with the linear schedule, its CIFAR10 (LS).

    python main.py --config=configs/analytic_dpm/cifar10_linear.py \
        --workdir=runs/analytic_dpm_cifar10_linear --mode=train

Dropout is that of Nichol and Dhariwal for this schedule; the paper names none.

A variation: the hardest row, K = 10, `--config.sampling.steps=9`: 44.45, and Analytic-DDPM 34.26.
"""

from configs.analytic_dpm import default
from configs.paper import Paper

PAPER = Paper(
    paper="Bao et al. 2022",
    row="tables 1 and 2, CIFAR10 (LS), K = 50",
    data="CIFAR-10, 32",
    parameters=52_542_979,
    published="FID: DDPM 15.21, Analytic-DDPM 7.25, DDIM 7.74, Analytic-DDIM 4.04",
    seen="paper",
)


def get_config():
    config = default.get_config()
    default.cifar10(config, dropout=0.1)
    return config
