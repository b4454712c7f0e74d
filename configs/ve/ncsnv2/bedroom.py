"""NCSNv2 on LSUN bedrooms of 128 x 128 pixels.

    python main.py --config=configs/ve/ncsnv2/bedroom.py --workdir=runs/ve_ncsnv2_bedroom --mode=train

1086 levels from 190 to 0.01, three Langevin steps at each. Song and Ermon train for 150,000 steps and show
samples.

The released file fails as shipped: `training.continuouse=False` is a typo, so that it trains in continuous
time, and looks up levels by fractions of their number; and the resizing to 128 takes the lesser of two
sides that are not known yet.

A variation: `--config.data.source=tfds:lsun/church_outdoor`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song & Ermon 2020",
    row="LSUN bedroom 128 x 128",
    data="LSUN bedroom, 128",
    parameters=83_445_379,
    published=None,
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.lsun(config, "bedroom")
    config.data.image_size = 128
    config.data.resize = "bilinear"
    config.training.batch_size = 128
    song2021.ve_discrete(config, sigma_max=190.0, levels=1086, snr=0.095)
    song2021.ncsnv2(config)
    song2021.ncsn_training(config, learning_rate=1e-4, decay=0.9999)
    config.sampling.corrector.steps = 3
    return config
