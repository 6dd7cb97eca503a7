"""The waiting room: keys take turns, and each key's requests come in the order in which they were put."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First in, first out within a key; round robin between keys. A key with a thousand requests delays another by one
    turn."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def put(self, key: str, item: T) -> None:
        self._lines.setdefault(key, deque()).append(item)

    def take(self, item: T) -> None:
        """``item``, who waits, leaves, and its key has had its turn."""
        key, line = next((key, line) for key, line in self._lines.items() if any(one is item for one in line))
        del self._lines[key]
        left = deque(one for one in line if one is not item)
        if left:
            self._lines[key] = left

    def discard(self, which: Callable[[T], bool]) -> list[T]:
        """All of whom ``which`` is true leave."""
        gone = [item for line in self._lines.values() for item in line if which(item)]
        for key, line in list(self._lines.items()) if gone else ():
            left = deque(item for item in line if not any(item is one for one in gone))
            if left:
                self._lines[key] = left
            else:
                del self._lines[key]
        return gone

    def __iter__(self) -> Iterator[T]:
        """All in the order in which they will be taken if nobody else comes."""
        lines = deque(deque(line) for line in self._lines.values())
        while lines:
            line = lines.popleft()
            yield line.popleft()
            if line:
                lines.append(line)
