"""What the models of Dhariwal and Nichol (2021) share, class-conditional ImageNet without guidance.

FID is of 50,000 samples of 250 calls. Steps, batch, learning rate and the average's decay are those of the
paper's appendix I (table 11), as a public reading note quotes them; networks and processes are those of the
flags in the authors' repository; AdamW without decay, flips and the weight of the bound, a thousandth of all
levels, are its scripts' defaults. The zips are what EDM2's `dataset_tool.py convert
--transform=center-crop-dhariwal` writes, the paper's own crop (docs/data_sets.md). Training in float16 there
is in bfloat16 here.
"""

from configs import base


def get_config():
    """ImageNet, 1,000 levels of the linear schedule, the network of 256 channels."""
    config = base.get_config()
    config.sde.name = "ddpm"
    config.sde.noise_levels = 1_000

    config.data.channels = 3
    config.data.classes = 1_000
    config.data.holdout = 0.001
    config.data.random_flip = True

    config.model.name = "adm"
    config.model.width = 256
    config.model.blocks = 2
    config.model.attention = (32, 16, 8)
    config.model.head_width = 64
    config.model.attention_order = "legacy"
    config.model.dropout = 0.0
    config.model.resample_in_blocks = True
    config.model.scale_shift_norm = True
    config.model.class_conditional = True
    config.model.dtype = "bfloat16"

    config.denoiser.parametrization = "eps"
    config.denoiser.noise_input = "index"
    config.denoiser.variance_head = "fraction"
    config.loss.time_grid = "discrete"
    config.loss.noise_levels = 1_000
    config.loss.variance_weight = 0.001

    config.optim.learning_rate = 1e-4
    config.optim.warmup = 0
    config.optim.grad_clip = 0.0
    config.ema.decays = (0.9999,)
    config.ema.ramp = False
    config.training.batch_size = 256
    config.checkpoint.keep_every = 50_000

    config.sampling.predictor.name = "ancestral"
    config.sampling.variance.name = "learned"
    config.sampling.threshold.name = "data_range"
    config.sampling.grid.name = "even"
    config.sampling.steps = 249  # and the final denoising: 250 calls
    config.sampling.batch_size = 64
    config.sampling.largest_bias = None

    config.eval.evaluators = ("loss", "two_sample", "discrete_bound")
    config.eval.bound.variance.name = "learned"
    return config
