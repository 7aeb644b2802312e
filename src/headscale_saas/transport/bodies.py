"""How much memory the request bodies of a process may take, all together and of one origin.

Whoever makes up machine keys has as many connections as he likes, so a limit for each connection is none.
"""


class Bodies:
    """Bytes of bodies that were received, until what answers them has finished."""

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


class Share:
    """What one request has taken."""

    __slots__ = ("_bodies", "_count", "_origin")

    def __init__(self, bodies: Bodies, origin: str) -> None:
        self._bodies = bodies
        self._origin = origin
        self._count = 0

    def take(self, count: int) -> bool:
        """As `Bodies.take`."""
        if not self._bodies.take(self._origin, count):
            return False
        self._count += count
        return True

    def give(self) -> None:
        """Everything; a second time nothing."""
        count, self._count = self._count, 0
        self._bodies.give(self._origin, count)
