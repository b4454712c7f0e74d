"""DDPM on CelebA-HQ of 256 x 256 pixels.

    python main.py --config=configs/vp/ddpm/celebahq.py --workdir=runs/vp_ddpm_celebahq --mode=train

The released file asks for side 256 and names records of side 1024, which nothing shrinks, at a path of its
author's machine; here the images are a zip of side 256 (docs/data_sets.md). Ho et al. (2020) show samples
of this experiment and print no FID; they train (appendix B) for 0.5 million steps, which at their 2.2 a
second are 2.6 days on a TPU v3-8.

A variation: `--config.data.image_size=128`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Ho et al. 2020",
    row="CelebA-HQ 256 x 256",
    data="CelebA-HQ, 256",
    parameters=111_569_923,
    published=None,
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.faces(config, "data_sets/celeba_hq_256.zip")
    song2021.vp_discrete(config)
    song2021.ddpm(config)
    config.model.multipliers = (1, 1, 2, 2, 4, 4)
    config.model.dropout = 0.0
    config.optim.learning_rate = 2e-5
    return config
