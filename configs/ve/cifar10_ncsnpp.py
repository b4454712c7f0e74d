"""NCSN++ on the 1,000 levels of SMLD.

    python main.py --config=configs/ve/cifar10_ncsnpp.py --workdir=runs/ve_cifar10_ncsnpp --mode=train

The network that the architecture search ends with.

A variation: `--config.ema.decays="(0.999,0.9999)"` keeps both averages; the paper takes .999 on this
process and .9999 on VP.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="table 3, NCSN++",
    data="CIFAR-10, 32",
    parameters=62_693_251,
    published="FID 2.45, IS 9.73",
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.ve_discrete(config, sigma_max=50.0, levels=1_000, snr=0.16)
    song2021.ncsnpp(config)
    return config
