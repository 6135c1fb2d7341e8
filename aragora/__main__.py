"""`python -m aragora`: the command line."""

import sys

from aragora.cli import main

sys.exit(main())
