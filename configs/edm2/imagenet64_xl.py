"""EDM2, size XL, on ImageNet of 64 x 64 pixels.

    python main.py --config=configs/edm2/imagenet64_xl.py --workdir=runs/edm2_imagenet64_xl --mode=train

The average of width 0.040 has the figure. It sees fewer images than the others, and is as good as L.

A variation: `--config.model.rematerialization=full`.
"""

from configs.edm2 import default
from configs.paper import Paper

PAPER = Paper(
    paper="Karras et al. 2024",
    row="table 3, EDM2-XL",
    data="ImageNet, 64",
    parameters=1_119_276_837,
    published="FID 1.33 at 63 calls",
    seen="code",
)


def get_config():
    return default.get_config(width=384, learning_rate=0.007, mebi_images=640, dropout=0.1)
