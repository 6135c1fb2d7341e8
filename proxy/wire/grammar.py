"""Pieces of the grammar that several fields share (RFC 9110 section 5.6), as sources of regular expressions."""

import re

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""RFC 9110 section 5.6.2."""

QUOTED_STRING = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
"""RFC 9110 section 5.6.4."""

is_token = re.compile(TOKEN).fullmatch
