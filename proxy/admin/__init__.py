"""The admin address: metrics, health, status, the status page, and commands."""
