"""Bodies compiled for the CPU."""
