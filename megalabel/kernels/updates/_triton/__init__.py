"""The formulas for Triton: called by the Triton bodies of other families."""
