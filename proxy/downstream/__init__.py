"""The client's side: one module a protocol."""
