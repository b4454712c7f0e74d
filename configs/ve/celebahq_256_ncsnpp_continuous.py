"""NCSN++ on CelebA-HQ of 256 x 256 pixels, on the VE SDE in continuous time.

    python main.py --config=configs/ve/celebahq_256_ncsnpp_continuous.py \
        --workdir=runs/ve_celebahq_256_ncsnpp_continuous --mode=train

The released file reads records at a path of its author's machine; here the images are a zip
(docs/data_sets.md). The paper prints no FID. Memory: `--config.training.accumulation=8`, or
`--config.model.rematerialization=blocks`.

A variation: `--config.sampling.steps=1000`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="released config and checkpoint",
    data="CelebA-HQ, 256",
    parameters=65_574_421,
    published=None,
    seen="code",
)


def get_config():
    config = song2021.get_config()
    song2021.faces(config, "data_sets/celeba_hq_256.zip")
    song2021.ve(config, sigma_max=348.0, steps=2_000, snr=0.075)
    song2021.ncsnpp_large_images(config)
    return config
