"""NCSN++ on CelebA, on the 1,000 levels of SMLD.

    python main.py --config=configs/ve/celeba_ncsnpp.py --workdir=runs/ve_celeba_ncsnpp --mode=train

The released file fails as shipped: its resizing calls `tf.round` with two arguments, and it sets a field
`model.sigma_begin` that nothing reads. The data is the ancestor's (docs/data_sets.md): the central 140
pixels, shrunk to 64. Of the architecture search the paper shows curves.

A variation: `--config.model.fir=False`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="released config, NCSN++",
    data="CelebA, 64",
    parameters=62_693_251,
    published=None,
    seen="code",
)


def get_config():
    config = song2021.get_config()
    song2021.celeba(config)
    song2021.ve_discrete(config, sigma_max=90.0, levels=1_000, snr=0.17)
    song2021.ncsnpp(config)
    return config
