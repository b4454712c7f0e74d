"""Experiments on the sub-VP SDE (Song et al. 2021)."""
