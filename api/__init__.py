"""The HTTP door: translates requests into use cases and their results into responses."""
