"""DDPM's network on the 1,000 levels of SMLD.

    python main.py --config=configs/ve/cifar10_ddpm.py --workdir=runs/ve_cifar10_ddpm --mode=train

The VE model of tables 1, 4 and 5, on which predictors and correctors are compared: `docs/samplers.md` has
the fields of each column.

A variation: P1000 with ancestral sampling, `--config.sampling.predictor=ancestral
--config.sampling.corrector=none` (4.98).
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="table 1, VE, reverse diffusion, PC1000",
    data="CIFAR-10, 32",
    parameters=35_218_947,
    published="FID 3.60",
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.ve_discrete(config, sigma_max=50.0, levels=1_000, snr=0.16)
    song2021.ddpm(config)
    return config
