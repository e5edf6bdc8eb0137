"""What Triton kernels of several families share: losses of one logit, random bits."""
