"""EDM's NCSN++ on CIFAR-10, unconditional.

    python main.py --config=configs/edm/cifar10_uncond_ve.py \
        --workdir=runs/edm_cifar10_uncond_ve --mode=train

About 2 days on 8 V100 (the authors' repository).

A variation: without augmentation, `--config.data.augmentation=0` and
`--config.model.augmentation_labels=0`, configuration E (1.99).
"""

from configs.edm import default
from configs.paper import Paper

PAPER = Paper(
    paper="Karras et al. 2022",
    row="table 2, F, unconditional, VE",
    data="CIFAR-10, 32",
    parameters=56_397_827,
    published="FID 1.98 at 35 calls",
    seen="paper",
)


def get_config():
    config = default.get_config()
    default.ncsnpp(config)
    return config
