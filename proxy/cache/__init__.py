"""Responses of applications, stored and used again (RFC 9111): a cache that all clients share."""
