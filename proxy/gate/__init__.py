"""What stands between the head and the body of a request: refusals and answers of the gateway's own."""
