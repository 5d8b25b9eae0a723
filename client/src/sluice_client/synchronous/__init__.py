# Written by client/make_synchronous.py from sluice_client/asynchronous. Change that file instead.
"""The client without asyncio."""
