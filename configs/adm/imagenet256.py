"""ADM on ImageNet of 256 x 256 pixels.

    python main.py --config=configs/adm/imagenet256.py --workdir=runs/adm_imagenet256 --mode=train

The published checkpoint `256x256_diffusion`; with classifier guidance it has 4.59. Its training took 916
days of one V100 (Rombach et al. 2022, table 18, as public reading notes quote it). Memory:
`--config.model.rematerialization=blocks`.

A variation: `--config.model.class_conditional=False`, the published `256x256_diffusion_uncond` of
552,814,086 parameters.
"""

from configs.adm import default
from configs.paper import Paper

PAPER = Paper(
    paper="Dhariwal & Nichol 2021",
    row="ADM, 256 x 256, without guidance",
    data="ImageNet, 256",
    parameters=553_838_086,
    published="FID 10.94",
    seen="quoted",
)


def get_config():
    config = default.get_config()
    config.data.source = "zip:data_sets/img256.zip"
    config.data.image_size = 256
    config.model.multipliers = (1, 1, 2, 2, 4, 4)
    config.training.steps = 1_980_000
    return config
