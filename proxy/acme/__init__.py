"""Certificates obtained and renewed from an authority (ACME, RFC 8555)."""
