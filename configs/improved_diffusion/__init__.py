"""Experiments of Improved DDPM (Nichol & Dhariwal 2021)."""
