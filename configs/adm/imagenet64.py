"""ADM on ImageNet of 64 x 64 pixels.

    python main.py --config=configs/adm/imagenet64.py --workdir=runs/adm_imagenet64 --mode=train

The published checkpoint `64x64_diffusion`, which EDM takes as its pre-trained model (FID 2.64 deterministic
at 79 calls, 1.55 with noise). A batch has 2,048 images: `--config.training.accumulation`.

A variation: EDM's sampler on it, `--config.sampling.predictor=edm --config.sampling.variance=small
--config.sampling.grid=rho --config.sampling.steps=39`.
"""

from configs.adm import default
from configs.paper import Paper

PAPER = Paper(
    paper="Dhariwal & Nichol 2021",
    row="ADM, 64 x 64, without guidance",
    data="ImageNet, 64",
    parameters=295_904_454,
    published="FID 2.07, precision 0.74, recall 0.63",
    seen="code",
)


def get_config():
    config = default.get_config()
    config.sde.name = "iddpm"
    config.data.source = "zip:data_sets/img64.zip"
    config.data.image_size = 64
    config.model.width = 192
    config.model.multipliers = (1, 2, 3, 4)
    config.model.blocks = 3
    config.model.attention_order = "new"
    config.model.dropout = 0.1
    config.optim.learning_rate = 3e-4
    config.training.steps = 540_000
    config.training.batch_size = 2_048
    return config
