"""Update rules (SGD, Adam): one implementation of each formula for each of torch, numba and Triton."""
