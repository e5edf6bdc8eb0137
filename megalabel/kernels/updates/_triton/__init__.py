"""The formulas for Triton, called by the Triton kernels of other families."""
