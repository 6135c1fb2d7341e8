"""The status page: static files, served as they are."""
