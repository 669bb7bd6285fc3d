"""What kitsseg needs of the operating system and the hardware: files, locks, signals, ranks, GPUs."""
