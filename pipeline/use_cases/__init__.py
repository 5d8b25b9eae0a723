"""What users and operators do with Sluice. The API controllers call these functions and nothing below them."""
