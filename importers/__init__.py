"""Published checkpoints become our parameters, and back: importers/mapping.py says how names are paired."""
