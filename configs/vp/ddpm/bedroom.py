"""DDPM on LSUN bedrooms of 256 x 256 pixels.

    python main.py --config=configs/vp/ddpm/bedroom.py --workdir=runs/vp_ddpm_bedroom --mode=train

The experiment of Ho et al. (2020), trained by the code of Song et al. The figure is that of Ho et al.; Song
et al. print none. Their network has an attention after each of the three blocks at side 16 on the way up,
this one after the last of them. They train (appendix B) for as many steps, 2.4 million, which at their 2.2 a
second are 12.6 days on a TPU v3-8. Memory: `--config.training.accumulation=4` has the same gradients.

A variation: DDIM with 50 calls, `--config.sampling.predictor=ddim --config.sampling.variance=small
--config.sampling.grid=leading --config.sampling.steps=49` (FID 6.75 in Song et al. 2020).
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Ho et al. 2020",
    row="LSUN 256 x 256",
    data="LSUN bedroom, 256",
    parameters=111_569_923,
    published="FID 6.36",
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.lsun(config, "bedroom")
    song2021.vp_discrete(config)
    song2021.ddpm(config)
    config.model.multipliers = (1, 1, 2, 2, 4, 4)
    config.model.dropout = 0.0
    config.optim.learning_rate = 2e-5
    return config
