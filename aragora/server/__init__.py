"""The debate service over HTTP and WebSocket; WSGI, ASGI and the development server share all but transport."""
