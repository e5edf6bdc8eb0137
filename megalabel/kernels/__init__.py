"""One folder per family of operations: what each computes, a plain version, and compiled implementations."""
