"""One file per operation: what it computes, a plain version, and which fast body runs when."""
