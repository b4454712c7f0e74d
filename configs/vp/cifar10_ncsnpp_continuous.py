"""NCSN++ on the VP SDE in continuous time.

    python main.py --config=configs/vp/cifar10_ncsnpp_continuous.py \
        --workdir=runs/vp_cifar10_ncsnpp_continuous --mode=train

No table of the paper has this pair.

A variation: `--config.model.fir=False --config.model.progressive_input=none` is DDPM++ field by field.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="released config, NCSN++ cont. on VP",
    data="CIFAR-10, 32",
    parameters=62_693_251,
    published=None,
    seen="code",
)


def get_config():
    config = song2021.get_config()
    song2021.vp(config)
    song2021.ncsnpp(config)
    return config
