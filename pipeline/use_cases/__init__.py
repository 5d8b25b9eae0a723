"""What people do with Sluice. The API controllers call these functions and nothing below them."""
