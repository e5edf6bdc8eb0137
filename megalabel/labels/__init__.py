"""The tree over the labels: label features, the label graph, balanced clusters, and the tree that they make."""
