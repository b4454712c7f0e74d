"""Likelihoods: exact ones by the probability-flow ODE, variational bounds, latent codes."""
