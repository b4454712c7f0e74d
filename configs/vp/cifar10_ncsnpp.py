"""NCSN++ on DDPM's 1,000 levels.

    python main.py --config=configs/vp/cifar10_ncsnpp.py --workdir=runs/vp_cifar10_ncsnpp --mode=train

No table has this pair: NCSN++ was searched for on the VE process, and DDPM++ does better here, which is
what the file is for. Its predictor is reverse diffusion, the only one of the discrete VP experiments.

A variation: `--config.sampling.predictor=ancestral`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="released config, NCSN++ on VP",
    data="CIFAR-10, 32",
    parameters=62_693_251,
    published=None,
    seen="code",
)


def get_config():
    config = song2021.get_config()
    song2021.vp_discrete(config)
    song2021.ncsnpp(config)
    config.sampling.predictor.name = "reverse_diffusion"
    config.sampling.variance.name = "small"
    return config
