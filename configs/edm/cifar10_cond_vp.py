"""EDM's DDPM++ on CIFAR-10, class-conditional.

    python main.py --config=configs/edm/cifar10_cond_vp.py --workdir=runs/edm_cifar10_cond_vp --mode=train

About 2 days on 8 V100 (the authors' repository).

A variation: the default sampler with 10 calls, `--config.sampling.predictor=default
--config.sampling.grid.name=None --config.sampling.grid.rho=None --config.sampling.predictor.order=None
--config.sampling.nfe=10`.
"""

from configs.edm import default
from configs.paper import Paper

PAPER = Paper(
    paper="Karras et al. 2022",
    row="table 2, F, conditional, VP",
    data="CIFAR-10, 32",
    parameters=55_735_299,
    published="FID 1.79 at 35 calls",
    seen="paper",
)


def get_config():
    config = default.get_config()
    default.ddpmpp(config)
    default.class_conditional(config, classes=10)
    return config
