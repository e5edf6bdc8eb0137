"""Metrics of rankings (`ranking`), propensities of labels (`propensity`), and tables of results (`table`)."""
