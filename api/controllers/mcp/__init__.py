"""The Model Context Protocol at `/mcp`: tools for agents, over the same use cases as the other routes."""
