"""The debate service over HTTP and WebSocket: WSGI, ASGI and a development server share everything but the transport."""
