"""Models of other tools: fastText, Omikuji, PECOS, and projects of Annif."""

from megalabel.importers.reading import read_model as read_model
