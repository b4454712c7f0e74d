"""Experiments of DDIM (Song, Meng & Ermon 2021)."""
