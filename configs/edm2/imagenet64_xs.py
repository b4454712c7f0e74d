"""EDM2, size XS, on ImageNet of 64 x 64 pixels.

    python main.py --config=configs/edm2/imagenet64_xs.py --workdir=runs/edm2_imagenet64_xs --mode=train

The paper prints no figure for this size; it is the bad version that guides S in Karras et al. (2024b).

A variation: `--config.loss.time_sampling.log_sigma_mean=-1.2
--config.loss.time_sampling.log_sigma_std=1.2`, the noise levels of EDM.
"""

from configs.edm2 import default
from configs.paper import Paper

PAPER = Paper(
    paper="Karras et al. 2024",
    row="preset edm2-img64-xs",
    data="ImageNet, 64",
    parameters=124_710_949,
    published=None,
    seen="code",
)


def get_config():
    return default.get_config(width=128, learning_rate=0.012, mebi_images=1_024, dropout=0.0)
