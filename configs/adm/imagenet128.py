"""ADM on ImageNet of 128 x 128 pixels.

    python main.py --config=configs/adm/imagenet128.py --workdir=runs/adm_imagenet128 --mode=train

The published checkpoint `128x128_diffusion`; with classifier guidance it has 2.97.

A variation: 25 calls of DDIM, `--config.sampling.predictor=ddim --config.sampling.variance=small
--config.sampling.grid=leading --config.sampling.steps=24`.
"""

from configs.adm import default
from configs.paper import Paper

PAPER = Paper(
    paper="Dhariwal & Nichol 2021",
    row="ADM, 128 x 128, without guidance",
    data="ImageNet, 128",
    parameters=421_529_606,
    published="FID 5.91",
    seen="quoted",
)


def get_config():
    config = default.get_config()
    config.data.source = "zip:data_sets/img128.zip"
    config.data.image_size = 128
    config.model.multipliers = (1, 1, 2, 3, 4)
    config.model.heads = 4
    config.model.head_width = None
    config.training.steps = 4_360_000
    return config
