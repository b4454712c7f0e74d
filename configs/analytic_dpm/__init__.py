"""Experiments of Analytic-DPM (Bao et al. 2022)."""
