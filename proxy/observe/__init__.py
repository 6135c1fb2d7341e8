"""What the gateway reports about itself: access log, error log, metrics."""
