"""Experiments on variance-exploding processes (Song et al. 2021)."""
