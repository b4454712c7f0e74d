"""Seeded nonsense: a short run of each fuzzer is a test, `make fuzz` runs them long."""
