"""`headscale tailnets`: customers' private networks."""

import click

from headscale_saas.cli.commands import Group, whole_number, words
from headscale_saas.cli.messages import Tailnet
from headscale_saas.cli.output import clean, lines, moment
from headscale_saas.cli.session import Session, with_server

COLUMNS = ("ID", "Name", "Cluster", "Version", "Created")
DETAILS = (
    "ID",
    "Name",
    "Display name",
    "Base domain",
    "Prefixes",
    "Domains",
    "Cluster",
    "Version",
    "Created",
)


@click.group("tailnets", cls=Group, aliases=("tailnet",))
def tailnets() -> None:
    """Manage tailnets."""


@tailnets.command("create", aliases=("c", "new"))
@click.argument("name")
@click.option("-d", "--display-name", default="", help="Display name.")
@click.option("--base-domain", default="", help="Suffix of nodes' names (default NAME.<dns.base_domain>).")
@click.option(
    "--cluster",
    callback=whole_number,
    metavar="N",
    default=0,
    help="ID of the cluster it lives on (default: the configured).",
)
@with_server
async def create(session: Session, name: str, display_name: str, base_domain: str, cluster: int) -> None:
    """Create a tailnet."""
    made = await session.client.create_tailnet(
        name, cluster=cluster, display_name=display_name, base_domain=base_domain
    )
    session.printer.result(made, "Tailnet created")


@tailnets.command("list", aliases=("ls",))
@with_server
async def list_(session: Session) -> None:
    """List tailnets."""
    found = await session.client.list_tailnets()
    session.printer.table(found, COLUMNS, map(_row, found))


def _row(tailnet: Tailnet) -> tuple[str, ...]:
    numbers = str(tailnet.cluster_id), str(tailnet.version)
    return str(tailnet.id), tailnet.name, *numbers, moment(tailnet.created_at)


@tailnets.command("show", aliases=("get",))
@click.argument("name")
@with_server
async def show(session: Session, name: str) -> None:
    """Show one tailnet."""
    found = await session.client.show_tailnet(name)
    number, name, *rest = _row(found)
    texts = clean(found.display_name), found.base_domain, lines(found.prefixes), lines(found.domains)
    session.printer.table(found, DETAILS, [(number, name, *texts, *rest)])


@tailnets.command("update", aliases=("set",))
@click.argument("name")
@click.option(
    "--domains",
    callback=lambda c, p, values: words(c, p, values) if values else None,
    multiple=True,
    metavar="DOMAINS",
    help='All DNS domains of its members, which its policy may name (a.com,b.com); "" for none.',
)
@with_server
async def update(session: Session, name: str, domains: list[str] | None) -> None:
    """Change what is given of a tailnet."""
    changed = await session.client.update_tailnet(name, domains=domains)
    session.printer.result(changed, "Tailnet updated")


@tailnets.command("delete", aliases=("destroy", "del"))
@click.argument("name")
@with_server
async def delete(session: Session, name: str) -> None:
    """Delete a tailnet with everything in it."""
    await session.client.show_tailnet(name)
    done = session.line.confirm(f"Do you want to delete the tailnet {clean(name)} with everything in it?")
    if done:
        await session.client.delete_tailnet(name)
    text = "Tailnet deleted" if done else "Tailnet not deleted"
    session.printer.result({"Result": text}, text)
