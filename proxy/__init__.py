"""A reverse proxy for one machine: HTTP/1.1 and WebSocket in front of any WSGI or ASGI application."""
