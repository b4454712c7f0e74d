"""NCSN as in Song and Ermon (2019), on CelebA.

    python main.py --config=configs/ve/ncsn/celeba.py --workdir=runs/ve_ncsn_celeba --mode=train

Ten levels from 1 to 0.01, a hundred Langevin steps at each, and no denoising at the end. Song and Ermon
train for 200,000 steps. Samples begin from Gaussian noise, as in Song et al. (2021); in 2019 it was
uniform.

The released file fails as shipped: its residual blocks hand a norm its class count twice, and no config
says how many there are; nor has it a `training.sde`, since it sets `training.loss`, and the resizing calls
`tf.round` with two arguments.

A variation: the denoising step, `--config.sampling.final_denoise=True --config.sampling.grid.name=uniform
--config.sampling.grid.times=None --config.sampling.steps=9` (FID 25.30).
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song & Ermon 2020",
    row="table 1, NCSN, without denoising",
    data="CelebA, 64",
    parameters=30_117_635,
    published="FID 26.89",
    seen="quoted",
)


def get_config():
    config = song2021.get_config()
    song2021.celeba(config)
    song2021.ve_discrete(config, sigma_max=1.0, levels=10, snr=0.316)
    song2021.ncsn(config)
    song2021.ncsn_training(config, learning_rate=1e-3, decay=0.0)
    config.sampling.corrector.steps = 100
    song2021.without_denoising(config)
    return config
