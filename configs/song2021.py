"""What the experiments of Song et al. (2021) share: those in configs/vp, ve and subvp, by its own names.

Each chooses a process, a network, and what differs from CIFAR-10's settings. How the figures are made:

- FID and Inception score: the best of the checkpoints that `checkpoint.keep_every` keeps, each with 50,000
  samples: `--mode=sample --config.sampling.num_samples=50000 --config.restore.step=...`.
- FID by the probability-flow ODE, and bits/dim: the last checkpoint. The former with
  `--config.sampling.predictor=ode --config.sampling.corrector=none`, the latter with `--mode=eval`, both to a
  tolerance of 1e-5. Bits/dim are of the test set, five draws of dequantization noise an image.

What differs from the released code: held-out loss is measured on the whole split every 5,000 steps, not on
one batch every 100; pixels stand at the centres of their bins, (v + 1/2) / 256, not at v / 255; discrete
experiments sample at the levels that they were trained on, where the code calls the network at times in
[0.001, 1] that stand up to a level beside them (docs/samplers.md). Continuous ones sample as released.
"""

from configs import base


def get_config():
    """CIFAR-10, without process and network: 1.3 million steps of batch 128."""
    config = base.get_config()
    config.seed = 42
    cifar10(config)

    config.loss.reduction = "half_sum"
    config.optim.learning_rate = 2e-4
    config.optim.warmup = 5_000
    config.optim.grad_clip = 1.0
    config.ema.decays = (0.999,)
    config.ema.ramp = False

    config.training.steps = 1_300_000
    config.training.batch_size = 128
    config.training.jitted_steps = 5
    config.training.log_every = 50
    config.training.sample_every = 50_000
    config.checkpoint.every = 10_000
    config.checkpoint.keep_every = 50_000

    config.sampling.batch_size = 1_024
    config.sampling.largest_bias = None
    config.eval.bits_per_dim.dequantizations = 5
    return config


def cifar10(config):
    """The data of CIFAR-10, for a process with data in [0, 1] until one says otherwise."""
    config.data.source = "tfds:cifar10"
    config.data.image_size = 32
    config.data.channels = 3
    config.data.random_flip = True
    config.data.centered = False


def celeba(config):
    """CelebA: the central 140 x 140 pixels, shrunk to side 64."""
    config.data.source = "tfds:celeb_a"
    config.data.image_size = 64
    config.data.crop = 140
    config.data.resize = "bilinear"


def lsun(config, category):
    """LSUN at side 256, 2.4 million steps of batch 64, without dropout."""
    config.data.source = f"tfds:lsun/{category}"
    config.data.image_size = 256
    config.data.resize = "bicubic"
    _large_images(config)


def faces(config, path):
    """CelebA-HQ or FFHQ from a zip of images of their final side; the paper trains on all of them."""
    config.data.source = f"zip:{path}"
    config.data.image_size = 256
    config.data.holdout = 0.01
    _large_images(config)


def _large_images(config):
    config.training.steps = 2_400_000
    config.training.batch_size = 64
    config.checkpoint.every = 5_000
    config.sampling.batch_size = 512


def vp_discrete(config):
    """DDPM's 1,000 levels, the noise predicted; its sampler has the larger variance, beta."""
    config.sde.name = "ddpm"
    config.sde.noise_levels = 1_000
    config.sde.beta_min = 0.1
    config.sde.beta_max = 20.0
    _of_vp(config)
    _on_levels(config)
    config.sampling.predictor.name = "ancestral"
    config.sampling.variance.name = "large"


def vp(config):
    """The VP SDE in continuous time, sampled by Euler and Maruyama's method as released."""
    config.sde.name = "vp"
    config.sde.beta_min = 0.1
    config.sde.beta_max = 20.0
    config.sde.sampling_t_min = 1e-3
    _of_vp(config)
    config.denoiser.noise_input = "time"
    config.sampling.predictor.name = "legacy_euler_maruyama"
    config.sampling.steps = 1_000


def subvp(config):
    """The sub-VP SDE, sampled in the same way."""
    vp(config)
    config.sde.name = "subvp"


def _of_vp(config):
    config.data.centered = True
    config.denoiser.parametrization = "eps"
    config.loss.reduction = "mean"
    config.ema.decays = (0.9999,)


def ve_discrete(config, sigma_max, levels, snr):
    """SMLD: geometric levels from 0.01, reverse diffusion with one Langevin step at each."""
    config.sde.name = "smld"
    config.sde.noise_levels = levels
    config.sde.sigma_min = 0.01
    config.sde.sigma_max = sigma_max
    _of_ve(config, snr)
    _on_levels(config)
    config.sampling.predictor.name = "reverse_diffusion"
    config.sampling.corrector.name = "langevin"
    config.sampling.corrector.norm = "batch"


def ve(config, sigma_max, steps, snr):
    """The VE SDE in continuous time, reverse diffusion with one Langevin step at each, as released."""
    config.sde.name = "ve"
    config.sde.sigma_min = 0.01
    config.sde.sigma_max = sigma_max
    config.sde.sampling_t_min = 1e-5
    _of_ve(config, snr)
    config.denoiser.noise_input = "unscaled_log_sigma"
    config.sampling.predictor.name = "legacy_reverse_diffusion"
    config.sampling.corrector.name = "legacy_langevin"
    config.sampling.steps = steps


def _of_ve(config, snr):
    config.model.recentre = True
    config.denoiser.parametrization = "score"
    config.denoiser.sigma_data = 0.25
    config.sampling.corrector.snr = snr
    config.sampling.corrector.steps = 1


def _on_levels(config):
    """The network is trained and called at the levels alone, which it knows by their number."""
    levels = config.sde.noise_levels
    config.denoiser.noise_input = "index"
    config.loss.time_grid = "discrete"
    config.loss.noise_levels = levels
    config.sampling.steps = levels - 1  # between all levels; the final denoising leads on from the last one


def ddpm(config):
    """The network of Ho et al. (2020) as Song et al. have it: one attention a level on the way up."""
    config.model.name = "ddpm"
    config.model.width = 128
    config.model.multipliers = (1, 2, 2, 2)
    config.model.blocks = 2
    config.model.attention = (16,)
    config.model.dropout = 0.1
    config.model.time_embedding = "sinusoidal"
    config.model.resample_with_convolution = True


def ddpmpp(config, blocks=4):
    """DDPM++: BigGAN's residual blocks, skips divided by sqrt(2); `blocks=8` is the deep one."""
    config.model.name = "ncsnpp"
    config.model.width = 128
    config.model.multipliers = (1, 2, 2, 2)
    config.model.blocks = blocks
    config.model.attention = (16,)
    config.model.dropout = 0.1
    config.model.time_embedding = "sinusoidal"
    config.model.residual_block = "biggan"
    config.model.fir = False
    config.model.skip_rescale = True
    config.model.progressive_input = "none"
    config.model.progressive_output = "none"


def ncsnpp(config, blocks=4):
    """NCSN++: DDPM++ with FIR resampling and a residual pyramid of the input."""
    ddpmpp(config, blocks)
    config.model.fir = True
    config.model.fir_kernel = (1, 3, 3, 1)
    config.model.progressive_input = "residual"
    config.model.progressive_combine = "sum"


def fourier(config):
    """The network is told log(sigma) by random Fourier features, as in continuous time on the VE SDE."""
    config.model.time_embedding = "fourier"
    config.model.fourier_scale = 16.0


def ncsnpp_large_images(config):
    """NCSN++ for 256 x 256 pixels and more: skips between the images of all sides."""
    ncsnpp(config, blocks=2)
    fourier(config)
    config.model.multipliers = (1, 1, 2, 2, 2, 2, 2)
    config.model.dropout = 0.0
    config.model.progressive_input = "input_skip"
    config.model.progressive_output = "output_skip"


def ncsn_training(config, learning_rate, decay):
    """Of NCSN and NCSNv2: no warm-up, no clipping; annealed Langevin dynamics alone draws samples."""
    config.optim.learning_rate = learning_rate
    config.optim.warmup = 0
    config.optim.grad_clip = 0.0
    config.ema.decays = (decay,)
    config.sampling.predictor.name = "none"
    config.sampling.corrector.name = "annealed_langevin"
    config.sampling.corrector.norm = None


def ncsn(config):
    """The network of Song and Ermon (2019), whose output is the score itself."""
    config.model.name = "ncsn"
    config.model.width = 128
    config.model.noise_levels = config.sde.noise_levels
    config.denoiser.parametrization = "unscaled_score"


def ncsnv2(config):
    """The network of Song and Ermon (2020), in the form for the side of the images."""
    config.model.name = "ncsnv2"
    config.model.width = 128


def without_denoising(config):
    """Samples keep the noise of the last level: the corrector acts there, the move after it does nothing."""
    levels = config.sde.noise_levels
    config.sampling.final_denoise = False
    config.sampling.grid.name = "explicit"
    config.sampling.grid.times = (*(n / levels for n in range(levels, 0, -1)), 0.5 / levels)
    config.sampling.steps = levels
