"""The gateway under mixed traffic for a long time: what grows, what fails, and why."""
