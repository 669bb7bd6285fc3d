"""Lightning callbacks: progress, learning curves, resuming and averaged weights."""
