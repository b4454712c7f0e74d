"""Analytic-DPM on CelebA of 64 x 64 pixels, with the model of Song, Meng and Ermon (2021).

    python main.py --config=configs/analytic_dpm/celeba64.py \
        --workdir=runs/analytic_dpm_celeba64 --mode=train

The paper takes the checkpoint of DDIM's authors, configs/ddim/celeba.py: what trains here is the same
model.

A variation: `--config.sampling.grid=leading`, the sub-sequence of Song et al. (table 9: 18.61, and 10.98).
"""

from configs.analytic_dpm import default
from configs.ddim import celeba
from configs.paper import Paper

PAPER = Paper(
    paper="Bao et al. 2022",
    row="tables 1 and 2, CelebA 64x64, K = 50",
    data="CelebA, 64",
    parameters=78_700_803,
    published="FID: DDPM 18.96, Analytic-DDPM 11.23, DDIM 9.33, Analytic-DDIM 6.13",
    seen="paper",
)


def get_config():
    config = default.get_config()
    celeba.data_and_network(config)
    celeba.training(config)
    return config
