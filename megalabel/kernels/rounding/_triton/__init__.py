"""The formulas of narrow types for Triton, called by the Triton kernels of other families."""
