"""What every kernel shares: the choice of a body, threads, random streams, checks."""
