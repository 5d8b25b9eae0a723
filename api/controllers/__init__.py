"""One file an area; the contract in short words."""
