"""NCSN++ on LSUN bedrooms of 256 x 256 pixels, on the VE SDE in continuous time.

    python main.py --config=configs/ve/bedroom_ncsnpp_continuous.py \
        --workdir=runs/ve_bedroom_ncsnpp_continuous --mode=train

The paper shows samples and prints no FID. Memory: `--config.training.accumulation=8`, or
`--config.model.rematerialization=blocks`.

A variation: `--config.sampling.corrector=none --config.sampling.predictor=adaptive_sde`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="released config and checkpoint",
    data="LSUN bedroom, 256",
    parameters=65_574_421,
    published=None,
    seen="code",
)


def get_config():
    config = song2021.get_config()
    song2021.lsun(config, "bedroom")
    song2021.ve(config, sigma_max=378.0, steps=2_000, snr=0.075)
    song2021.ncsnpp_large_images(config)
    return config
