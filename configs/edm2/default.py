"""What EDM2's presets for ImageNet of 64 x 64 pixels share (Karras et al. 2024, configuration G).

FID is of 50,000 samples against all training images, with the width of the average that makes it least, which
is reconstructed after training: `--mode=ema`. The zip is what EDM2's `dataset_tool.py convert
--resolution=64x64 --transform=center-crop-dhariwal` writes (docs/data_sets.md).

What differs from the released code: bfloat16 in place of float16; noise levels of training lie in [0.002,
80], which clips one in 1,000; averages are of the weights after their forced normalization, which the code
leaves to the next forward pass. The code adds the errors of pixels up where this one averages them: Adam's
epsilon, 1e-8 there, is smaller by their number. The authors recommend at least 32 A100; accumulation takes
a smaller machine.
"""

from configs import base

# Images of one of EDM2's mebi-images.
MEBI = 1 << 20


def get_config(width, learning_rate, mebi_images, dropout):
    """A preset: the network's width, its learning rate, how many mebi-images it sees, and dropout."""
    config = base.get_config()
    config.sde.name = "edm"

    config.data.source = "zip:data_sets/img64.zip"
    config.data.image_size = 64
    config.data.channels = 3
    config.data.classes = 1_000
    config.data.holdout = 0.001

    config.model.name = "edm2"
    config.model.width = width
    config.model.multipliers = (1, 2, 3, 4)
    config.model.blocks = 3
    config.model.attention = (16, 8)
    config.model.head_width = 64
    config.model.dropout = dropout
    config.model.label_balance = 0.5
    config.model.concat_balance = 0.5
    config.model.residual_balance = 0.3
    config.model.attention_balance = 0.3
    config.model.activation_clip = 256.0
    config.model.class_conditional = True
    config.model.dtype = "bfloat16"

    config.denoiser.parametrization = "edm"
    config.denoiser.noise_input = "log_sigma"
    config.denoiser.sigma_data = 0.5
    config.denoiser.uncertainty = True
    config.loss.weighting.name = "edm"
    config.loss.time_sampling.name = "log_normal"
    config.loss.time_sampling.log_sigma_mean = -0.8
    config.loss.time_sampling.log_sigma_std = 1.6

    config.optim.learning_rate = learning_rate
    config.optim.schedule = "inverse_sqrt"
    config.optim.decay_steps = 35_000
    config.optim.beta2 = 0.99
    config.optim.epsilon = 1e-8 / (3 * 64 * 64)
    config.optim.grad_clip = 0.0
    config.ema.decays = ()
    config.ema.power_stds = (0.05, 0.1)
    config.ema.snapshot_every = 4_096

    config.training.batch_size = 2_048
    config.training.steps = mebi_images * MEBI // 2_048
    config.optim.warmup = 10_000_000 // 2_048
    config.checkpoint.every = 65_536

    config.sampling.predictor.name = "edm"
    config.sampling.predictor.order = 2
    config.sampling.grid.name = "rho"
    config.sampling.grid.rho = 7.0
    config.sampling.steps = 31  # of 32; the final denoising is the last one: 63 calls
    config.sampling.batch_size = 256
    config.sampling.largest_bias = None
    return config
