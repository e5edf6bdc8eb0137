"""Update rules (SGD, Adam): each formula once for torch, numba and Triton."""
