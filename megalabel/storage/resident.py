"""How much of what lies in files is in memory at a time: numbers that plans need without torch."""

SPILL_FROM = 64 << 20  # bytes of growing data that stay in memory; see `spill`
RESIDENT = 256 << 20  # bytes of tables on disk whose pages may stay mapped between two releases; see `tables`
