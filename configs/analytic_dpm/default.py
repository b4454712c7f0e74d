"""What the experiments of Analytic-DPM (Bao et al. 2022) share: K = 50 calls, evenly spaced levels.

As given each file draws by DDPM with the small variance. The other rows of tables 1 and 2, after
`--mode=variance --config.variance.levels=1000` on the run:

- Analytic-DDPM: `--config.sampling.variance=analytic --config.sampling.variance.file=<workdir>/variance.npz`,
  with `--config.sampling.variance.pixels=2` on CIFAR-10 with the linear schedule and on CelebA, else 1;
- DDIM: `--config.sampling.predictor=ddim`; Analytic-DDIM: both;
- another K: `--config.sampling.steps=` K - 1; the optimal trajectory: `--mode=optimal_grid`;
- bits/dim: `--mode=eval`, with the same variance as `--config.eval.bound.variance`.

FID is of 50,000 samples by pytorch-fid; the checkpoint is the one of every 10,000 steps with the best FID of
1,000 samples. docs/variance.md has the method; docs/optimal_variance_digits.md these tables scaled down.
"""

from configs import base


def get_config(schedule="ddpm", noise_levels=1_000):
    """All but data and network."""
    config = base.get_config()
    config.sde.name = schedule
    config.sde.noise_levels = noise_levels
    config.data.channels = 3

    config.denoiser.parametrization = "eps"
    config.denoiser.noise_input = "index"
    config.loss.time_grid = "discrete"
    config.loss.noise_levels = noise_levels

    config.optim.learning_rate = 1e-4
    config.optim.warmup = 0
    config.optim.grad_clip = 0.0
    config.ema.decays = (0.9999,)
    config.ema.ramp = False
    config.training.steps = 500_000
    config.training.batch_size = 128
    config.checkpoint.every = 10_000
    config.checkpoint.keep_every = 10_000

    config.sampling.predictor.name = "ancestral"
    config.sampling.grid.name = "even"
    config.sampling.steps = 49  # and the final denoising: 50 calls
    config.sampling.batch_size = 256
    config.sampling.largest_bias = None

    config.eval.evaluators = ("loss", "two_sample", "discrete_bound")
    config.eval.bound.grid = "sampling"
    config.variance.levels = noise_levels
    return config


def cifar10(config, dropout):
    """CIFAR-10 and the network of Nichol and Dhariwal (2021), of which the mean alone is learned."""
    config.data.source = "tfds:cifar10"
    config.data.image_size = 32
    config.optim.name = "adamw"
    improved_diffusion_network(config, (1, 2, 2, 2), dropout)


def improved_diffusion_network(config, multipliers, dropout):
    """The U-Net of Nichol and Dhariwal (2021)."""
    config.model.name = "adm"
    config.model.width = 128
    config.model.multipliers = multipliers
    config.model.blocks = 3
    config.model.attention = (16, 8)
    config.model.heads = 4
    config.model.attention_order = "legacy"
    config.model.dropout = dropout
    config.model.resample_with_convolution = True
    config.model.resample_in_blocks = False
    config.model.scale_shift_norm = True
    config.model.class_conditional = False
