"""What the experiments of Nichol and Dhariwal (2021) share: its CIFAR-10 model with the hybrid objective.

The variance of each reverse step is learned, between beta and the posterior's, by a term of 0.001 times the
bound beside the simple loss. FID is of 50,000 samples, of unconditional ImageNet of 10,000, against the whole
training set; bits/dim by the bound over all levels: `--mode=eval`. Its data sets are not flipped.

Networks, batch, learning rate and the numbers of steps are those of the flags and checkpoints in the README
of the authors' repository, the rest its scripts' defaults: AdamW without decay, averages by 0.9999.
"""

from configs import base


def get_config():
    """CIFAR-10, 4,000 levels of the cosine schedule."""
    config = base.get_config()
    levels(config, 4_000)

    config.data.source = "tfds:cifar10"
    config.data.image_size = 32
    config.data.channels = 3

    config.model.name = "adm"
    config.model.width = 128
    config.model.multipliers = (1, 2, 2, 2)
    config.model.blocks = 3
    config.model.attention = (16, 8)
    config.model.heads = 4
    config.model.attention_order = "legacy"
    config.model.dropout = 0.3
    config.model.resample_with_convolution = True
    config.model.resample_in_blocks = False
    config.model.scale_shift_norm = True
    config.model.class_conditional = False

    config.denoiser.parametrization = "eps"
    config.denoiser.noise_input = "rescaled_index"
    config.denoiser.variance_head = "fraction"
    config.loss.variance_weight = 0.001

    config.optim.learning_rate = 1e-4
    config.optim.warmup = 0
    config.optim.grad_clip = 0.0
    config.ema.decays = (0.9999,)
    config.ema.ramp = False
    config.training.steps = 500_000
    config.training.batch_size = 128
    config.checkpoint.keep_every = 50_000

    config.sampling.predictor.name = "ancestral"
    config.sampling.variance.name = "learned"
    config.sampling.threshold.name = "data_range"
    config.sampling.grid.name = "even"
    config.sampling.batch_size = 256
    config.sampling.largest_bias = None

    config.eval.evaluators = ("loss", "two_sample", "discrete_bound")
    config.eval.bound.variance.name = "learned"
    return config


def levels(config, count, schedule="iddpm"):
    """All of `count` levels in training, sampling and the bound; schedule: iddpm (cosine), ddpm (linear)."""
    config.sde.name = schedule
    config.sde.noise_levels = count
    config.loss.time_grid = "discrete"
    config.loss.noise_levels = count
    config.sampling.steps = count - 1  # the final denoising leads on from the last one
    config.eval.bound.levels = count


def mean_alone(config):
    """The simple loss, and the larger of the two variances."""
    config.denoiser.variance_head = "none"
    config.loss.variance_weight = 0.0
    config.sampling.variance.name = "large"
    config.eval.bound.variance.name = "large"


def bound_alone(config):
    """L_vlb, with levels drawn by the history of their losses: `--use_kl True`, `loss-second-moment`."""
    config.loss.error = "bound"
    config.loss.variance_weight = 0.0
    config.loss.time_sampling.name = "loss_history"


def imagenet64(config):
    """Unconditional ImageNet, the 64 x 64 images of van den Oord et al. (2016); a deeper network."""
    config.data.source = "tfds:downsampled_imagenet/64x64"
    config.data.image_size = 64
    config.model.multipliers = (1, 2, 3, 4)
    config.model.dropout = 0.0
    config.training.steps = 1_500_000
