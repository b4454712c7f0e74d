"""Improved DDPM on class-conditional ImageNet of 64 x 64 pixels, the large network.

    python main.py --config=configs/improved_diffusion/imagenet64_conditional.py \
        --workdir=runs/improved_diffusion_imagenet64_conditional --mode=train

The published checkpoint `imagenet64_cond_270M_250K`. It is told the number of the level, 0 to 3,999, not
rescaled, and its bound counts 1 / 4,000. The images are those of guided-diffusion: full ImageNet, cropped
and shrunk (docs/data_sets.md). A batch has 2,048 images: `--config.training.accumulation`.

A variation: `--config.sampling.labels=207` draws one class.
"""

from configs.improved_diffusion import default
from configs.paper import Paper

PAPER = Paper(
    paper="Nichol & Dhariwal 2021",
    row="table 4, large, 250 steps",
    data="ImageNet, 64",
    parameters=273_049_350,
    published="FID 2.92, precision 0.82, recall 0.71",
    seen="quoted",
)


def get_config():
    config = default.get_config()
    default.imagenet64(config)
    config.data.source = "zip:data_sets/img64.zip"
    config.data.holdout = 0.001
    config.data.classes = 1_000
    config.model.width = 192
    config.model.class_conditional = True
    config.denoiser.noise_input = "index"
    config.loss.variance_weight = 1 / 4_000
    config.optim.learning_rate = 3e-4
    config.training.steps = 250_000
    config.training.batch_size = 2_048
    config.sampling.steps = 249
    return config
