"""Measurements over many examples."""
