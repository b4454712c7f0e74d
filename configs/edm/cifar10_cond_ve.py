"""EDM's NCSN++ on CIFAR-10, class-conditional.

    python main.py --config=configs/edm/cifar10_cond_ve.py --workdir=runs/edm_cifar10_cond_ve --mode=train

About 2 days on 8 V100 (the authors' repository).

A variation: `--config.sampling.predictor.churn=80 --config.sampling.predictor.churn_min=0.05
--config.sampling.predictor.churn_max=1 --config.sampling.predictor.churn_noise=1.007
--config.sampling.steps=255`, the stochastic sampler with the settings found for the pre-trained VE model.
"""

from configs.edm import default
from configs.paper import Paper

PAPER = Paper(
    paper="Karras et al. 2022",
    row="table 2, F, conditional, VE",
    data="CIFAR-10, 32",
    parameters=56_400_643,
    published="FID 1.79 at 35 calls",
    seen="paper",
)


def get_config():
    config = default.get_config()
    default.ncsnpp(config)
    default.class_conditional(config, classes=10)
    return config
