"""The other processes of this machine that serve the same data: what agents say, and what changed, told to each other.

    DATA_DIR/live/PID-RANDOM.sock      one listening socket for each process; the directory is 0700, a socket 0600
    a stream socket between each two   the one that looks first connects, and both use it

A process tells which debates it watches, and hears of those only. Lines of JSON:

    {"process": NAME}                              first, from both sides
    {"watch": [ID, ...]}  {"unwatch": [ID, ...]}   what the sender wants to hear of
    {"id": ID, "words": {...}}                     a `Piece` of what is said
    {"id": ID, "seq": N}  {"id": ID, "deleted": true}

Losing all of this loses no event: watchers poll the store as well. There is no queue either. What a process has
to send to another is what lies past its cursors, so a slow process receives more at once and delays no other,
and one that stands still or dies is let go.
"""

from aragora.storage.siblings.connection import Audience, Message
from aragora.storage.siblings.mesh import Siblings

__all__ = ["Audience", "Message", "Siblings"]
