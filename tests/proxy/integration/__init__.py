"""The running gateway between real bytes: cases, real clients, real upstreams."""
