"""DDPM whose network is not told the noise level.

    python main.py --config=configs/vp/ddpm/cifar10_unconditional.py \
        --workdir=runs/vp_ddpm_cifar10_unconditional --mode=train

The released code names this experiment without a figure. Its PyTorch port fails on it, since a list of
modules is begun only where the network is told; the JAX code runs.

A variation: the same for DDPM++, `--config=configs/vp/cifar10_ddpmpp.py
--config.model.time_embedding=none`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="released config without a figure",
    data="CIFAR-10, 32",
    parameters=32_329_347,
    published=None,
    seen="code",
)


def get_config():
    config = song2021.get_config()
    song2021.vp_discrete(config)
    song2021.ddpm(config)
    config.model.time_embedding = "none"
    return config
