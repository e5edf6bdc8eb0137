"""Label trees: label features, the label graph, balanced clusters, and the trees built from them."""
