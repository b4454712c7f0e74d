"""NCSN++ on the VE SDE in continuous time.

    python main.py --config=configs/ve/cifar10_ncsnpp_continuous.py \
        --workdir=runs/ve_cifar10_ncsnpp_continuous --mode=train

A variation: the probability flow with the grid of Karras et al. (2022), `--config.sampling.predictor=edm
--config.sampling.corrector=none --config.sampling.grid=rho --config.sampling.steps=13` (FID 3.73 at 27
calls there).
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="table 3, NCSN++ cont. (VE)",
    data="CIFAR-10, 32",
    parameters=62_758_787,
    published="FID 2.38, IS 9.83",
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.ve(config, sigma_max=50.0, steps=1_000, snr=0.16)
    song2021.ncsnpp(config)
    song2021.fourier(config)
    return config
