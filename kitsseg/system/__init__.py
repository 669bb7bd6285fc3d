"""What kitsseg needs of the operating system and the hardware.

Files that are written whole, locks, signals, processes and GPUs, versions for a record.
"""
