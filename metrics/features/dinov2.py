"""DINOv2 (Oquab et al. 2024), whose features FD-DINOv2 compares (Stein et al. 2023), by `transformers`.

The network is the library's, in PyTorch on the host or a GPU; requirements/dinov2.txt brings both.
Images are resized as Stein et al. do, by Pillow's bicubic filter to side 224, clipped, and scaled by
ImageNet's mean and standard deviation; the feature is the class token after the last norm.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from metrics.features.feature import three_channels
from metrics.features.resizing import Resizing, pil_bicubic

SIDE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MISSING = "dinov2 needs torch and transformers: pip install -r requirements/dinov2.txt"


@dataclasses.dataclass(frozen=True, eq=False)
class DINOv2:
    """The class token of a DINOv2 network.

    Attributes:
      weights: path of a folder of `transformers`; whoever reads it hands over what follows.
      settings: dict, of the network; arrays: its state by name.
    """

    weights: str | None = None
    settings: Any = None
    arrays: Any = None

    on_device = False
    constants = None

    def __post_init__(self):
        _library()

    @property
    def identity(self):
        """See metrics.features.feature.Feature."""
        return {"resize": f"pil_bicubic to {SIDE}"}

    @functools.cached_property
    def _network(self):
        torch, transformers = _library()
        config = transformers.Dinov2Config(**self.settings)
        state = {name: torch.from_numpy(np.array(array)) for name, array in self.arrays.items()}
        # Files have the names of older releases, which this call knows; what is missing it draws at random.
        network, found = transformers.Dinov2Model.from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True
        )
        missing = sorted(map(str, found["missing_keys"] | found["mismatched_keys"]))
        if missing:
            raise ValueError(
                f"weights do not fit the network of their config: {missing[0]} is missing or misshapen"
            )
        return network.eval().to("cuda" if torch.cuda.is_available() else "cpu")

    def apply(self, constants, images):
        """See metrics.features.feature.Feature; grey is repeated in three channels."""
        torch, _ = _library()
        x = np.asarray(_resized(images)) / 255
        x = (np.repeat(x, 3, -1) if x.shape[-1] == 1 else x) - np.float32(MEAN)
        x = torch.from_numpy((x / np.float32(STD)).transpose(0, 3, 1, 2))
        with torch.no_grad():
            found = self._network(x.to(self._network.device)).pooler_output
        return {"features": found.float().cpu().numpy()}

    def refusal(self, height, width, channels):
        """See metrics.features.feature.Feature."""
        return three_channels(channels)


_resized = Resizing(functools.partial(pil_bicubic, side=SIDE), 0.0, 1.0, clipped=True)


def _library():
    """(torch, transformers); imported by whoever asks for these features alone.

    Raises:
      ValueError: one is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError:
        raise ValueError(MISSING) from None
    return torch, transformers
