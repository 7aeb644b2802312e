"""The policies of all tailnets, for programs that come before the schema is known to be theirs.

They ask for what has been there since the first schema, so that a release can look at the policies before
the database is migrated to it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from headscale_saas.errors import Unavailable

CONNECT_SECONDS = 10
TAILNETS_AT_ONCE = 1000
TEXTS_AT_ONCE = 16
"""A text has up to 1 MiB."""

BEGIN = "set transaction isolation level repeatable read read only"
IDS = "select id from tailnets where id > %s order by id limit %s"
TEXTS = """
select t.id, t.name, s.policy from tailnets t join tailnet_settings s on s.tailnet_id = t.id
where s.policy <> '' order by t.id
"""


class PolicyText(NamedTuple):
    """The policy in force in one tailnet."""

    tailnet: int
    name: str
    text: str


def policy_texts(dsn: str) -> Iterator[PolicyText]:
    """All of one moment, by tailnet. The database has a schema. Raises Unavailable."""
    import psycopg  # noqa: PLC0415 - only for commands and at the start

    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS, prepare_threshold=None) as connection:
            connection.execute(BEGIN)
            last = 0
            while tailnets := _tailnets_after(connection, last):
                yield from _texts_of(connection, tailnets)
                last = tailnets[-1]
    except psycopg.Error as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise Unavailable(f"the stored policies cannot be read: {reason}") from None


def _tailnets_after(connection: Any, last: int) -> list[int]:
    connection.execute("set local role hs_directory")
    return [row[0] for row in connection.execute(IDS, [last, TAILNETS_AT_ONCE])]


def _texts_of(connection: Any, tailnets: list[int]) -> Iterator[PolicyText]:
    listed = ",".join(map(str, tailnets))
    connection.execute(f"set local role hs_feed; set local app.tailnets = '{{{listed}}}'")
    with connection.cursor(name="policy_texts") as cursor:
        cursor.itersize = TEXTS_AT_ONCE
        cursor.execute(TEXTS)
        for row in cursor:
            yield PolicyText(*row)
