"""The client for asyncio. `client/make_synchronous.py` writes `sluice_client.synchronous` from it."""
