"""The OpenAPI document: Litestar's configuration, what Litestar leaves out, and examples."""
