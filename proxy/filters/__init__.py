"""Filters between a request's head and the application: who may pass, and what the gateway responds to itself."""
