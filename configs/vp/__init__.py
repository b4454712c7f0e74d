"""Experiments on variance-preserving processes (Song et al. 2021; Ho et al. 2020)."""
