"""DDPM++ with twice the blocks, on the sub-VP SDE in continuous time.

    python main.py --config=configs/subvp/cifar10_ddpmpp_deep_continuous.py \
        --workdir=runs/subvp_cifar10_ddpmpp_deep_continuous --mode=train

The best likelihood of the paper.

A variation: `--config.eval.bits_per_dim.tolerance=1e-3` measures it with fewer calls.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="tables 2 and 3, DDPM++ cont. (deep, sub-VP)",
    data="CIFAR-10, 32",
    parameters=106_632_579,
    published="FID 2.41, IS 9.57; by the ODE FID 2.92; 2.99 bits/dim",
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.subvp(config)
    song2021.ddpmpp(config, blocks=8)
    config.training.steps = 950_000
    return config
