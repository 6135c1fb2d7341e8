"""`python -m aragora.settings`: print the reference page."""

import sys

from aragora.settings.page import page

sys.stdout.write(page())
