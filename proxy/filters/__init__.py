"""Filters between a request's head and the application: access, limits, and what the gateway responds to itself."""
