"""DDPM++ on DDPM's 1,000 levels.

    python main.py --config=configs/vp/cifar10_ddpmpp.py --workdir=runs/vp_cifar10_ddpmpp --mode=train

The network of the architecture search, before it is trained in continuous time.

A variation: DDIM with 50 calls, `--config.sampling.predictor=ddim --config.sampling.variance=small
--config.sampling.grid=even --config.sampling.steps=49`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="table 3, DDPM++",
    data="CIFAR-10, 32",
    parameters=61_804_419,
    published="FID 2.78, IS 9.64",
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.vp_discrete(config)
    song2021.ddpmpp(config)
    return config
