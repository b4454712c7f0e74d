"""EDM2, size M, on ImageNet of 64 x 64 pixels.

    python main.py --config=configs/edm2/imagenet64_m.py --workdir=runs/edm2_imagenet64_m --mode=train

The average of width 0.060 has the figure. It sees twice as many images as the others.

A variation: `--config.model.dropout=0`.
"""

from configs.edm2 import default
from configs.paper import Paper

PAPER = Paper(
    paper="Karras et al. 2024",
    row="table 3, EDM2-M",
    data="ImageNet, 64",
    parameters=497_803_173,
    published="FID 1.43 at 63 calls",
    seen="code",
)


def get_config():
    return default.get_config(width=256, learning_rate=0.009, mebi_images=2_048, dropout=0.1)
