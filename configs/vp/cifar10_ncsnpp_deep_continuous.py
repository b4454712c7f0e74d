"""NCSN++ with twice the blocks, on the VP SDE in continuous time.

    python main.py --config=configs/vp/cifar10_ncsnpp_deep_continuous.py \
        --workdir=runs/vp_cifar10_ncsnpp_deep_continuous --mode=train

No table of the paper has this pair.

A variation: `--config.sde=subvp`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="released config, NCSN++ cont. (deep) on VP",
    data="CIFAR-10, 32",
    parameters=107_521_411,
    published=None,
    seen="code",
)


def get_config():
    config = song2021.get_config()
    song2021.vp(config)
    song2021.ncsnpp(config, blocks=8)
    config.training.steps = 950_000
    return config
