"""Webhooks: signs events and sends them to the receivers of accounts."""
