"""The logger of the gateway's own messages, below gunicorn's so that both go to the same error log."""

import logging

log = logging.getLogger("gunicorn.error.proxy")
