"""DDIM on CelebA of 64 x 64 pixels.

    python main.py --config=configs/ddim/celeba.py --workdir=runs/ddim_celeba --mode=train

The model that the paper trains itself, and Analytic-DPM takes; on CIFAR-10 and LSUN it takes those of Ho et
al., configs/vp/ddpm. The faces are cut otherwise than those of configs/ve/celeba_ncsnpp.py: 128 pixels,
from row 57 and column 25 on. The paper does not say how it trained: batch, learning rate, clipping and
average are those of configs/celeba.yml in the authors' repository. The steps behind the published checkpoint
are told nowhere (that file would stop at 5 million); 500,000 are those of its peers. Sub-sequences are
linear, 1 + k floor(1000 / S).

A variation: the other rows of table 1, `--config.sampling.predictor.eta=1` (18.48 at 50 steps), or other
columns, `--config.sampling.steps=` S - 1 (10: 17.33, 20: 13.73, 100: 6.53, 1000: 3.51).
"""

from configs import base
from configs.paper import Paper

PAPER = Paper(
    paper="Song, Meng & Ermon 2021",
    row="table 1, eta = 0, S = 50",
    data="CelebA, 64",
    parameters=78_700_803,
    published="FID 9.17",
    seen="paper",
)


def get_config():
    config = base.get_config()
    config.sde.name = "ddpm"
    config.sde.noise_levels = 1_000
    data_and_network(config)

    config.denoiser.parametrization = "eps"
    config.denoiser.noise_input = "index"
    config.loss.time_grid = "discrete"
    config.loss.noise_levels = 1_000

    training(config)
    config.checkpoint.keep_every = 50_000

    config.sampling.predictor.name = "ddim"
    config.sampling.predictor.eta = 0.0
    config.sampling.grid.name = "leading"
    config.sampling.steps = 49  # and the final denoising: 50 calls
    config.sampling.largest_bias = None
    return config


def data_and_network(config):
    """CelebA as this paper cuts it, and the network of Ho et al. (2020)."""
    config.data.source = "tfds:celeb_a"
    config.data.image_size = 64
    config.data.channels = 3
    config.data.crop = 128
    config.data.crop_corner = (25, 57)
    config.data.resize = "bilinear"
    config.data.random_flip = True

    config.model.name = "unet"
    config.model.width = 128
    config.model.multipliers = (1, 2, 2, 2, 4)
    config.model.blocks = 2
    config.model.attention = (16,)
    config.model.dropout = 0.1


def training(config):
    """How the authors' repository trains it."""
    config.optim.learning_rate = 2e-4
    config.optim.warmup = 0
    config.optim.grad_clip = 1.0
    config.ema.decays = (0.9999,)
    config.ema.ramp = False
    config.training.steps = 500_000
    config.training.batch_size = 128
