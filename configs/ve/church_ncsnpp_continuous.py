"""NCSN++ on LSUN churches of 256 x 256 pixels, on the VE SDE in continuous time.

    python main.py --config=configs/ve/church_ncsnpp_continuous.py \
        --workdir=runs/ve_church_ncsnpp_continuous --mode=train

The paper shows samples and prints no FID; with 5,000 samples Jolicoeur-Martineau et al. (2021) get 29.14.
Memory: `--config.training.accumulation=8`, or `--config.model.rematerialization=blocks`.

A variation: `--config.sampling.corrector=none --config.sampling.predictor=adaptive_sde` (25.67 in the same
table).
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="released config and checkpoint",
    data="LSUN church, 256",
    parameters=65_574_421,
    published="FID of 5,000 samples 29.14",
    seen="quoted",
)


def get_config():
    config = song2021.get_config()
    song2021.lsun(config, "church_outdoor")
    song2021.ve(config, sigma_max=380.0, steps=2_000, snr=0.075)
    song2021.ncsnpp_large_images(config)
    return config
