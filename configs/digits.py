"""The embedded default: scikit-learn's 8x8 digit scans, a few minutes on two CPU cores.

    python main.py --config=configs/digits.py --workdir=runs/digits --mode=train

The forward process by argument: `--config=configs/digits.py:ve` (or `subvp`), which
is the same as `--config.sde=ve`.
"""

from configs import base


def get_config(sde="vp"):
    config = base.get_config()
    config.sde.name = sde
    config.data.source = "digits"
    config.data.dequantize = True
    config.data.holdout = 0.2
    config.model.width = 32
    config.model.multipliers = (1, 2)
    config.model.blocks = 1
    config.model.attention = (4,)
    config.model.dropout = 0.1
    config.denoiser.parametrization = "edm"
    config.denoiser.sigma_data = 0.7
    config.loss.low_discrepancy = True
    config.optim.learning_rate = 2e-3
    config.optim.warmup = 100
    config.optim.schedule = "cosine"
    config.ema.decays = (0.999,)
    config.training.steps = 1_000
    config.training.batch_size = 64
    config.training.log_every = 50
    config.training.eval_every = 250
    config.training.sample_every = 600
    config.checkpoint.every = 250
    config.sampling.predictor.name = "reverse_diffusion"
    config.sampling.corrector.name = "langevin"
    config.sampling.steps = 100
    config.sampling.corrector.snr = 0.1
    config.sampling.batch_size = 64
    config.eval.two_sample.num_samples = 334
    config.eval.batch_size = 120
    config.eval.bits_per_dim.tolerance = 1e-4
    config.eval.loss_levels = 16
    return config
