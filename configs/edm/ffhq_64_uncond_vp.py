"""EDM's DDPM++ on FFHQ of 64 x 64 pixels.

    python main.py --config=configs/edm/ffhq_64_uncond_vp.py --workdir=runs/edm_ffhq_64_uncond_vp --mode=train

About 4 days on 8 V100 (the authors' repository). The zip is what `dataset_tool.py --resolution=64x64`
writes (docs/data_sets.md).

A variation: other dropouts, `--config.model.dropout=0.1`.
"""

from configs.edm import default
from configs.paper import Paper

PAPER = Paper(
    paper="Karras et al. 2022",
    row="table 2, F, FFHQ, VP",
    data="FFHQ, 64",
    parameters=61_805_571,
    published="FID 2.39 at 79 calls",
    seen="paper",
)


def get_config():
    config = default.get_config()
    default.ddpmpp(config)
    default.side_64(config, "data_sets/ffhq-64x64.zip", dropout=0.05)
    return config
