"""An audit of the labels of a data set: which are probably missing, wrong, duplicates or synonyms."""
