"""The formulas for numba: inlined by the compiled bodies of other families."""
