"""What every kind of feature offers."""

from typing import Any, Protocol


class Feature(Protocol):
    """Images to numbers; a frozen dataclass of its settings.

    Attributes:
      identity: dict for JSON of all settings on which the numbers depend, beside the weights.
      constants: pytree of arrays, moved to the devices once; None for features of the host.
      on_device: whether `apply` is a function for JAX to compile; else it takes and gives NumPy arrays.
    """

    identity: dict
    constants: Any
    on_device: bool

    def apply(self, constants, images):
        """Features of images.

        Args:
          constants: as above; images: [B, H, W, C] uint8, 0..255.

        Returns:
          {"features": [B, D], and where there are any "logits": [B, classes], "spatial": [B, E]}.
        """

    def refusal(self, height, width, channels):
        """Why images of this shape have no such features, in a line without a full stop; None: they have."""


def three_channels(channels):
    """Why images are none for a network of photographs; None: they are, or are grey."""
    return None if channels in (1, 3) else f"images have {channels} channels, and it reads 1 (grey) or 3"
