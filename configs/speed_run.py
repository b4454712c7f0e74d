"""CIFAR-10 from nothing in minutes on one GPU, and its FID: the shortest way from this code to a figure.

    make fid
    python main.py --config=configs/speed_run.py --workdir=runs/speed_run --mode=train
    python main.py --workdir=runs/speed_run --mode=eval

docs/speed_run.md has what came of it, on which card, and how to choose `training.steps` for the minutes that
one has. What makes it fast: EDM's preconditioning and noise levels, with times spread evenly over the batch;
DDPM's network of 35.7 million parameters in bfloat16, without dropout; a short warm-up, a high rate that
falls to zero at the last step; an average whose length grows with training, a twentieth of it; mirror images.
Samples take 20 calls.

A variation: `--config.optim.name=muon`.
"""

from configs.edm import default


def get_config():
    config = default.get_config()
    config.data.augmentation = 0.0
    config.data.random_flip = True

    config.model.name = "unet"
    config.model.dropout = 0.0
    config.model.dtype = "bfloat16"
    config.loss.low_discrepancy = True
    config.loss.reduction = "mean"

    config.training.batch_size = 256
    config.training.steps = 12_500
    config.training.eval_every = 0
    config.optim.learning_rate = 1e-3
    config.optim.beta2 = 0.99
    config.optim.warmup = 300
    config.optim.schedule = "linear"
    config.optim.grad_clip = 1.0
    config.ema.half_life_images = None
    config.ema.power_stds = (0.05,)
    config.checkpoint.every = 2_500
    config.checkpoint.keep_every = 0

    config.sampling.predictor.name = "default"
    config.sampling.predictor.order = None
    config.sampling.grid.name = None
    config.sampling.grid.rho = None
    config.sampling.nfe = 20
    config.sampling.batch_size = 1_000
    config.eval.batch_size = 512
    config.eval.evaluators = ("sample_quality",)
    config.eval.sample_quality.num_samples = 50_000
    return config
