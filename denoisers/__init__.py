"""What everything above the network sees: (x, t) -> Prediction, and functions denoise -> denoise."""

from denoisers.network import create

__all__ = ["create"]
