"""Route handlers, one module per resource. Their docstrings become the descriptions in the OpenAPI document."""
