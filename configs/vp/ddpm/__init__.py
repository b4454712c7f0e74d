"""DDPM (Ho et al. 2020), as Song et al. (2021) train it."""
