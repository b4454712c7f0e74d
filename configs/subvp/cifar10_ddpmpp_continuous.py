"""DDPM++ on the sub-VP SDE in continuous time.

    python main.py --config=configs/subvp/cifar10_ddpmpp_continuous.py \
        --workdir=runs/subvp_cifar10_ddpmpp_continuous --mode=train

A variation: `--config.sampling.predictor=reverse_diffusion`, which has no meaning of its own in the
released code for this process.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="tables 2 and 3, DDPM++ cont. (sub-VP)",
    data="CIFAR-10, 32",
    parameters=61_804_419,
    published="FID 2.61, IS 9.56; by the ODE FID 3.16; 3.02 bits/dim",
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.subvp(config)
    song2021.ddpmpp(config)
    return config
