"""Experiments of EDM (Karras et al. 2022)."""
