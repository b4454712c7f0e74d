"""NCSNv2 on CIFAR-10.

    python main.py --config=configs/ve/ncsnv2/cifar10.py --workdir=runs/ve_ncsnv2_cifar10 --mode=train

232 levels from 50 to 0.01, five Langevin steps at each; the network is not told the level, its output is
divided by it. The figure is of the best of the checkpoints of 5,000 steps each by the FID of 1,000 samples,
300,000 steps in all; the released code of Song et al. trains for longer and evaluates every 50,000.

A variation: without the last denoising FID is 31.75; `--config.sampling.final_denoise=False`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song & Ermon 2020",
    row="table 1, NCSNv2, with denoising",
    data="CIFAR-10, 32",
    parameters=29_694_083,
    published="FID 10.87, IS 8.40",
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.ve_discrete(config, sigma_max=50.0, levels=232, snr=0.176)
    song2021.ncsnv2(config)
    song2021.ncsn_training(config, learning_rate=1e-4, decay=0.999)
    config.sampling.corrector.steps = 5
    return config
