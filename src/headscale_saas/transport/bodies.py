"""How much memory the unfinished request bodies of a process may take, all together and of one origin.

Whoever makes up machine keys has as many connections as he likes, so a limit for each connection is none.
"""


class Bodies:
    """Bytes that were received of bodies that have not ended."""

    __slots__ = ("_most", "_most_of_origin", "_of_origin", "held")

    def __init__(self, most: int, most_of_origin: int) -> None:
        self._most = most
        self._most_of_origin = most_of_origin
        self._of_origin: dict[str, int] = {}
        self.held = 0

    def take(self, origin: str, count: int) -> bool:
        """False, and nothing is taken, if that is more than may be. `origin`: see `addresses.source`."""
        of_origin = self._of_origin.get(origin, 0) + count
        if self.held + count > self._most or of_origin > self._most_of_origin:
            return False
        self.held += count
        self._of_origin[origin] = of_origin
        return True

    def give(self, origin: str, count: int) -> None:
        """Gives back what was taken."""
        if not count:
            return
        self.held -= count
        left = self._of_origin.pop(origin) - count
        if left:
            self._of_origin[origin] = left
