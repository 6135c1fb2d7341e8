"""Upstreams that speak HTTP/2: few connections with many streams, each of which looks like a socket with HTTP/1."""
