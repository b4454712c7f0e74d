"""Analytic-DPM on CIFAR-10 with the cosine schedule, its CIFAR10 (CS).

    python main.py --config=configs/analytic_dpm/cifar10_cosine.py \
        --workdir=runs/analytic_dpm_cifar10_cosine --mode=train

Dropout is that of Nichol and Dhariwal for this schedule; the paper names none.

A variation: a learned second moment, `--config.denoiser.variance_head=second_moment
--config.loss.variance_weight=1 --config.training.network_from=<workdir>` (Bao et al. 2022b: SN-DDPM 4.17).
"""

from configs.analytic_dpm import default
from configs.paper import Paper

PAPER = Paper(
    paper="Bao et al. 2022",
    row="tables 1 and 2, CIFAR10 (CS), K = 50",
    data="CIFAR-10, 32",
    parameters=52_542_979,
    published="FID: DDPM 11.11, Analytic-DDPM 5.50, DDIM 10.48, Analytic-DDIM 6.02",
    seen="paper",
)


def get_config():
    config = default.get_config(schedule="iddpm")
    default.cifar10(config, dropout=0.3)
    return config
