"""NCSNv2 on CelebA.

    python main.py --config=configs/ve/ncsnv2/celeba.py --workdir=runs/ve_ncsnv2_celeba --mode=train

500 levels from 90 to 0.01, five Langevin steps at each; the network is not told the level, its output is
divided by it. The figure is of the best of the checkpoints of 5,000 steps each by the FID of 1,000 samples,
210,000 steps in all; the released code of Song et al. trains for longer and evaluates every 50,000.

The released file fails as shipped: its resizing calls `tf.round` with two arguments.

A variation: without the last denoising FID is 28.86; `--config.sampling.final_denoise=False`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song & Ermon 2020",
    row="table 1, NCSNv2, with denoising",
    data="CelebA, 64",
    parameters=29_694_083,
    published="FID 10.23",
    seen="quoted",
)


def get_config():
    config = song2021.get_config()
    song2021.celeba(config)
    song2021.ve_discrete(config, sigma_max=90.0, levels=500, snr=0.128)
    song2021.ncsnv2(config)
    song2021.ncsn_training(config, learning_rate=1e-4, decay=0.999)
    config.sampling.corrector.steps = 5
    return config
