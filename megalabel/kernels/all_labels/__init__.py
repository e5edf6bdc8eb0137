"""Loss and top-k over every label."""
