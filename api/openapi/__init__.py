"""The OpenAPI document: Litestar's configuration, the parts Litestar leaves out, and examples."""
