"""What the experiments of Karras et al. (2022) share: configuration F of its table 2, on CIFAR-10.

FID is of 50,000 samples against all training images, the least of three such sets with different seeds:
`--mode=sample --config.sampling.num_samples=50000`. Half-life and duration are in images, of which a step has
`training.batch_size`. Settings are the defaults of the authors' train.py, or the arguments that their README
gives for a data set.

What differs from the released code: noise levels of training lie in [0.002, 80], which clips two in 100,000;
augmentation includes the mirror images of half the examples, so that `data.random_flip` stays off, as there.
The papers' zips have no held-out images: `data.holdout` keeps a few back.
"""

from configs import base

# Of the learning rate's linear rise, 10 million.
WARMUP_IMAGES = 10_000_000


def get_config():
    """All but the network: 200 million images, 512 a step."""
    config = base.get_config()
    config.sde.name = "edm"

    config.data.source = "tfds:cifar10"
    config.data.image_size = 32
    config.data.channels = 3
    config.data.augmentation = 0.12

    config.denoiser.parametrization = "edm"
    config.denoiser.noise_input = "log_sigma"
    config.denoiser.sigma_data = 0.5
    config.loss.weighting.name = "edm"
    config.loss.time_sampling.name = "log_normal"
    config.loss.time_sampling.log_sigma_mean = -1.2
    config.loss.time_sampling.log_sigma_std = 1.2
    config.loss.reduction = "half_sum"

    config.optim.learning_rate = 1e-3
    config.optim.grad_clip = 0.0
    config.ema.decays = ()
    config.ema.half_life_images = 500_000.0
    config.ema.half_life_ramp = 0.05
    duration(config, images=200_000_000, batch_size=512)

    config.checkpoint.every = 5_000
    config.checkpoint.keep_every = 25_000
    heun(config, steps=18)
    return config


def duration(config, images, batch_size):
    """Steps of training and of warm-up, for so many images in all."""
    config.training.batch_size = batch_size
    config.training.steps = images // batch_size
    config.optim.warmup = WARMUP_IMAGES // batch_size


def heun(config, steps):
    """Algorithm 1: `steps` steps of Heun's method, the last one Euler's, with 2 steps - 1 calls."""
    config.sampling.predictor.name = "edm"
    config.sampling.predictor.order = 2
    config.sampling.grid.name = "rho"
    config.sampling.grid.rho = 7.0
    config.sampling.steps = steps - 1  # the final denoising is the last one
    config.sampling.batch_size = 256
    config.sampling.largest_bias = None


def ddpmpp(config):
    """The network of the columns VP: DDPM++ with EDM's redistributed capacity."""
    config.model.name = "song_unet"
    config.model.width = 128
    config.model.multipliers = (2, 2, 2)
    config.model.blocks = 4
    config.model.attention = (16,)
    config.model.dropout = 0.13
    config.model.embedding_multiplier = 4
    config.model.noise_multiplier = 1
    config.model.time_embedding = "sinusoidal"
    config.model.fir_kernel = (1, 1)
    config.model.progressive_input = "none"
    config.model.progressive_output = "none"
    config.model.augmentation_labels = 9
    config.model.class_conditional = False


def ncsnpp(config):
    """The network of the columns VE: NCSN++, which at this configuration differs in the network alone."""
    ddpmpp(config)
    config.model.noise_multiplier = 2
    config.model.time_embedding = "fourier"
    config.model.fir_kernel = (1, 3, 3, 1)
    config.model.progressive_input = "residual"


def class_conditional(config, classes):
    """The network reads the labels of the data."""
    config.data.classes = classes
    config.model.class_conditional = True


def side_64(config, path, dropout):
    """FFHQ and AFHQv2: one resolution more, half the batch, less learning rate, 40 steps of sampling."""
    config.data.source = f"zip:{path}"
    config.data.image_size = 64
    config.data.holdout = 0.01
    config.data.augmentation = 0.15
    config.model.multipliers = (1, 2, 2, 2)
    config.model.dropout = dropout
    config.optim.learning_rate = 2e-4
    duration(config, images=200_000_000, batch_size=256)
    heun(config, steps=40)
