"""NCSN++ on the sub-VP SDE in continuous time.

    python main.py --config=configs/subvp/cifar10_ncsnpp_continuous.py \
        --workdir=runs/subvp_cifar10_ncsnpp_continuous --mode=train

No table of the paper has this pair.

A variation: `--config.model.progressive_input=input_skip`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="released config, NCSN++ cont. on sub-VP",
    data="CIFAR-10, 32",
    parameters=62_693_251,
    published=None,
    seen="code",
)


def get_config():
    config = song2021.get_config()
    song2021.subvp(config)
    song2021.ncsnpp(config)
    return config
