"""DDPM++ on the VP SDE in continuous time.

    python main.py --config=configs/vp/cifar10_ddpmpp_continuous.py \
        --workdir=runs/vp_cifar10_ddpmpp_continuous --mode=train

The baseline of most papers on fast samplers.

A variation: the same network with the default sampler, `--config.sampling.predictor=default
--config.sampling.steps=20`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="tables 2 and 3, DDPM++ cont. (VP)",
    data="CIFAR-10, 32",
    parameters=61_804_419,
    published="FID 2.55, IS 9.58; by the ODE FID 3.93; 3.16 bits/dim",
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.vp(config)
    song2021.ddpmpp(config)
    return config
