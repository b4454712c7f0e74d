"""What lies in the folder of a run, and how it is written and read."""
