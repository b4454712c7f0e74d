"""Experiments of EDM2 (Karras et al. 2024), in pixels."""
