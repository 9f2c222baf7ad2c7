"""Work done ahead in a second thread, while the caller is busy with what is ready."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor


def prefetch(make, items):
    """Yield ``make(item)`` for each of ``items``, in order; a thread makes the next one while the caller has this one.

    At most two results wait, the one being yielded and the next (double buffering), so memory is bounded.  ``items``
    is gone through in the caller's thread.  What ``make`` raises is raised where its result would have come.

    Whatever ends the loop (its end, an error, Ctrl-C, the generator's ``close()``), work handed over is finished
    and the thread has ended when the generator has: nothing is left half done, and nothing runs on unseen.

    It is no free lunch: where the caller keeps every core busy, the thread takes its time from the caller, and only
    what waits (for a disk, or between two parts of a network) is won.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as background:
        made = deque()
        for item in items:
            made.append(background.submit(make, item))
            if len(made) == 2:
                yield made.popleft().result()
        while made:
            yield made.popleft().result()
