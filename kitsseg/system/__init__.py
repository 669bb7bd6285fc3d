"""Operating system and hardware: atomic file writing, locks, signals, ranks, GPUs."""
