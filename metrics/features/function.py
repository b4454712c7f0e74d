"""Features that a function of the user's computes."""

import dataclasses
import functools
import hashlib
import importlib
import inspect

import numpy as np


@dataclasses.dataclass(frozen=True)
class Function:
    """Features by a function of images [B, H, W, C] uint8 of 0..255, that gives an array [B, D].

    It may give a dict of arrays in its place, as metrics.features.feature.Feature.apply does.

    Attributes:
      function: "package.module:function"; the module is imported.
    """

    function: str = ""

    on_device = False
    constants = None

    def __post_init__(self):
        if not callable(self._called):
            raise ValueError(f'function="{self.function}" is no function')

    @functools.cached_property
    def _called(self):
        module, _, name = self.function.partition(":")
        if not (module and name):
            raise ValueError(f'function="{self.function}" must be "package.module:function"')
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(f'function="{self.function}" cannot be imported: {error}') from None

    @property
    def identity(self):
        """Its name, and a digest of its own text where Python can show it."""
        try:
            source = hashlib.sha256(inspect.getsource(self._called).encode()).hexdigest()[:16]
        except (OSError, TypeError):
            source = None
        return {"function": self.function, "source": source}

    def apply(self, constants, images):
        """See metrics.features.feature.Feature."""
        found = self._called(images)
        found = found if isinstance(found, dict) else {"features": found}
        found = {name: np.asarray(values) for name, values in found.items()}
        wrong = [
            name
            for name, values in found.items()
            if values.ndim != 2 or len(values) != len(images) or values.dtype.kind not in "fiub"
        ]
        if wrong or "features" not in found:
            raise ValueError(
                f'function="{self.function}" must give real features [B, D], and for {len(images)} images it '
                f"gave { {name: (str(values.dtype), values.shape) for name, values in found.items()} }"
            )
        return found

    def refusal(self, height, width, channels):
        """None: the function says itself what it cannot."""
        return None
