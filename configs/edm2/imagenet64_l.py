"""EDM2, size L, on ImageNet of 64 x 64 pixels.

    python main.py --config=configs/edm2/imagenet64_l.py --workdir=runs/edm2_imagenet64_l --mode=train

The average of width 0.040 has the figure.

A variation: `--config.model.rematerialization=blocks` where memory is short.
"""

from configs.edm2 import default
from configs.paper import Paper

PAPER = Paper(
    paper="Karras et al. 2024",
    row="table 3, EDM2-L",
    data="ImageNet, 64",
    parameters=777_492_325,
    published="FID 1.33 at 63 calls",
    seen="code",
)


def get_config():
    return default.get_config(width=320, learning_rate=0.008, mebi_images=1_024, dropout=0.1)
