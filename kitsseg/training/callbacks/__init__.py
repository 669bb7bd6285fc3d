"""Lightning callbacks: progress, learning curve, resuming, and coarse training in the first epochs."""
