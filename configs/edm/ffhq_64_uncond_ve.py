"""EDM's NCSN++ on FFHQ of 64 x 64 pixels.

    python main.py --config=configs/edm/ffhq_64_uncond_ve.py --workdir=runs/edm_ffhq_64_uncond_ve --mode=train

About 4 days on 8 V100 (the authors' repository). The zip is what `dataset_tool.py --resolution=64x64`
writes (docs/data_sets.md).

A variation: 18 steps, `--config.sampling.steps=17`.
"""

from configs.edm import default
from configs.paper import Paper

PAPER = Paper(
    paper="Karras et al. 2022",
    row="table 2, F, FFHQ, VE",
    data="FFHQ, 64",
    parameters=62_761_091,
    published="FID 2.53 at 79 calls",
    seen="paper",
)


def get_config():
    config = default.get_config()
    default.ncsnpp(config)
    default.side_64(config, "data_sets/ffhq-64x64.zip", dropout=0.05)
    return config
