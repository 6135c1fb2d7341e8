"""A debate service: several language models argue a question to a decision."""
