"""The formulas for numba, inlined by the compiled code of other kernel families."""
