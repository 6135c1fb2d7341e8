"""What the gateway tells about itself: access log, metrics, health."""
