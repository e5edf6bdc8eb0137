"""Indexes over the vectors of labels: searches that find the best labels without scoring all in float32."""
