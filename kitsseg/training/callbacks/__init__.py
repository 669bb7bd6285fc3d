"""Lightning callbacks: progress, learning curve, resuming, and training on coarser slices first."""
