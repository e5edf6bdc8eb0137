"""Numbers that say how good a ranking is: `ranking`, `propensity`, and tables to read them in."""
