"""`headscale clusters`: the units of placement."""

import click

from headscale_saas.cli.commands import Group, whole_number
from headscale_saas.cli.output import clean, moment
from headscale_saas.cli.session import Session, with_server

COLUMNS = ("ID", "Name", "URL", "Region", "Capacity", "State", "Created")


@click.group("clusters", cls=Group, aliases=("cluster",))
def clusters() -> None:
    """Manage clusters, on which tailnets are placed."""


@clusters.command("create", aliases=("c", "new"))
@click.argument("cluster_id", callback=whole_number, metavar="ID")
@click.argument("name")
@click.option("--url", default="", help="The URL its clients use.")
@click.option("--region", default="", help="Region.")
@click.option(
    "--capacity",
    callback=whole_number,
    metavar="N",
    default=1000,
    help="Most tailnets placed on it (default 1000).",
)
@with_server
async def create(session: Session, cluster_id: int, name: str, url: str, region: str, capacity: int) -> None:
    """Create a cluster. ID is the `cluster_id` of its processes' configuration."""
    made = await session.client.create_cluster(cluster_id, name, url=url, region=region, capacity=capacity)
    session.printer.result(made, "Cluster created")


@clusters.command("update", aliases=("set",))
@click.argument("cluster_id", callback=whole_number, metavar="ID")
@click.option("--name", help="Name.")
@click.option("--url", help='The URL its clients use ("": the service\'s own).')
@click.option("--region", help="Region.")
@click.option("--capacity", callback=whole_number, metavar="N", help="Most tailnets placed on it.")
@click.option("--state", metavar="STATE", help="active (takes new tailnets), draining or down.")
@with_server
async def update(
    session: Session,
    cluster_id: int,
    name: str | None,
    url: str | None,
    region: str | None,
    capacity: int | None,
    state: str | None,
) -> None:
    """Change what is given of a cluster. `serve` makes `cluster-ID` by itself."""
    changed = await session.client.update_cluster(
        cluster_id, name=name, url=url, region=region, capacity=capacity, state=state
    )
    session.printer.result(changed, "Cluster updated")


@clusters.command("list", aliases=("ls", "show"))
@with_server
async def list_(session: Session) -> None:
    """List clusters."""
    found = await session.client.list_clusters()
    rows = (
        (
            str(one.cluster_id),
            clean(one.name),
            clean(one.url),
            clean(one.region),
            str(one.capacity),
            one.state,
            moment(one.created_at),
        )
        for one in found
    )
    session.printer.table(found, COLUMNS, rows)
