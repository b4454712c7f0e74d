"""Experiments of ADM, guided-diffusion (Dhariwal & Nichol 2021), without guidance."""
