"""EDM's DDPM++ on AFHQv2 of 64 x 64 pixels.

    python main.py --config=configs/edm/afhqv2_64_uncond_vp.py \
        --workdir=runs/edm_afhqv2_64_uncond_vp --mode=train

About 4 days on 8 V100 (the authors' repository). The zip is what `dataset_tool.py --resolution=64x64`
writes (docs/data_sets.md).

A variation: the dropout of FFHQ, `--config.model.dropout=0.05`, on a fifth of the images.
"""

from configs.edm import default
from configs.paper import Paper

PAPER = Paper(
    paper="Karras et al. 2022",
    row="table 2, F, AFHQv2, VP",
    data="AFHQv2, 64",
    parameters=61_805_571,
    published="FID 1.96 at 79 calls",
    seen="paper",
)


def get_config():
    config = default.get_config()
    default.ddpmpp(config)
    default.side_64(config, "data_sets/afhqv2-64x64.zip", dropout=0.25)
    return config
