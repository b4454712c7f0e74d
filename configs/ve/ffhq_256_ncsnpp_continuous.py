"""NCSN++ on FFHQ of 256 x 256 pixels, on the VE SDE in continuous time.

    python main.py --config=configs/ve/ffhq_256_ncsnpp_continuous.py \
        --workdir=runs/ve_ffhq_256_ncsnpp_continuous --mode=train

The released file reads records at a path of its author's machine; here the images are a zip
(docs/data_sets.md). The paper prints no FID; with 5,000 samples Jolicoeur-Martineau et al. (2021) get
16.42. Memory: `--config.training.accumulation=8`, or `--config.model.rematerialization=blocks`.

A variation: `--config.sampling.steps=1000`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="released config and checkpoint",
    data="FFHQ, 256",
    parameters=65_574_421,
    published="FID of 5,000 samples 16.42",
    seen="quoted",
)


def get_config():
    config = song2021.get_config()
    song2021.faces(config, "data_sets/ffhq_256.zip")
    song2021.ve(config, sigma_max=348.0, steps=2_000, snr=0.075)
    song2021.ncsnpp_large_images(config)
    return config
