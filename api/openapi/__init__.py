"""The OpenAPI document: configuration, completion and examples."""
