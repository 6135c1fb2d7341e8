"""What stands between a request's head and the application: who may come in, and what is answered here."""
