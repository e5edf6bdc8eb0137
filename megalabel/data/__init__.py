"""Data sets: texts with their labels, read from many formats, checked, and written."""
