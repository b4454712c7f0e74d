"""NCSN++ with twice the blocks, on the sub-VP SDE in continuous time.

    python main.py --config=configs/subvp/cifar10_ncsnpp_deep_continuous.py \
        --workdir=runs/subvp_cifar10_ncsnpp_deep_continuous --mode=train

No table of the paper has this pair.

A variation: `--config.model.progressive_combine=cat --config.model.progressive_input=input_skip`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="released config, NCSN++ cont. (deep) on sub-VP",
    data="CIFAR-10, 32",
    parameters=107_521_411,
    published=None,
    seen="code",
)


def get_config():
    config = song2021.get_config()
    song2021.subvp(config)
    song2021.ncsnpp(config, blocks=8)
    config.training.steps = 950_000
    return config
