"""Images of side 16, 32 or 64 from any source: the starting point for one's own data.

    python main.py --config=configs/images.py --workdir=runs/mine --mode=train \
        --config.data.source=folder:photos --config.data.image_size=32

`--mode=inspect` with the same flags prints the size and range of the data and suggests
`denoiser.sigma_data`. For another side attention acts at one of its halves: 28 takes
`--config.model.attention="(14,)"`. Half of the images are mirrored: turn that off for digits or text.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.source = "folder:photos"
    config.data.random_flip = True
    config.model.width = 64
    config.model.multipliers = (1, 2, 2)
    config.model.blocks = 2
    config.model.attention = (16,)
    config.model.dropout = 0.1
    config.denoiser.parametrization = "edm"
    config.loss.low_discrepancy = True
    config.ema.decays = (0.9995,)
    config.training.steps = 50_000
    config.training.sample_every = 5_000
    return config
