"""Parts that are opened after a fork share nothing with those of the parent."""

import os
import time

from aragora.settings import Settings
from aragora.storage import Store
from tests.aragora.storage.debates import message, spec


def test_parent_and_children_write_through_stores_of_their_own(settings: Settings) -> None:
    store = Store.open(settings)
    record = store.create(spec())
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                own = Store.open(settings)
                for _ in range(10):
                    own.append(record.id, None, [message(str(number))], lease=None, at=time.time())
                own.close()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    for _ in range(10):
        store.append(record.id, None, [message("parent")], lease=None, at=time.time())
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert [event.seq for event in store.history(record.id)] == list(range(1, 41))
    store.close()
