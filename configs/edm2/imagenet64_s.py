"""EDM2, size S, on ImageNet of 64 x 64 pixels.

    python main.py --config=configs/edm2/imagenet64_s.py --workdir=runs/edm2_imagenet64_s --mode=train

The average of width 0.075 has the figure.

A variation: 8 devices of 80 GB, `--config.training.accumulation=8`, with the same gradients.
"""

from configs.edm2 import default
from configs.paper import Paper

PAPER = Paper(
    paper="Karras et al. 2024",
    row="table 3, EDM2-S",
    data="ImageNet, 64",
    parameters=280_209_381,
    published="FID 1.58 at 63 calls",
    seen="code",
)


def get_config():
    return default.get_config(width=192, learning_rate=0.01, mebi_images=1_024, dropout=0.0)
