"""A client of Sluice."""
