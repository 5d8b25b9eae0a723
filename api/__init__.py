"""The HTTP API: translates requests into use cases and their results into responses."""
