"""Loss, top-k and rewiring of a layer with few inputs per label."""
