"""Bodies of the operations for CPUs."""
