"""The pure core: it decides everything and does nothing (no I/O, clock, randomness or logging)."""
