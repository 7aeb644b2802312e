"""The command line, in headscale's manner: its scripts work unchanged, and `--tailnet` says where.

app         `main`, the root command with the persistent flags, errors and exit codes
flags       persistent flags may stand anywhere on the line
commands    aliases, required flags and help as cobra has them
session     what a command works with: the client, the printer, questions
output      tables for people; JSON and YAML as headscale prints them
messages    headscale's API messages, which all output is made of
times       durations and moments as flags give them

client      the seam: what commands ask of a server, whatever carries it
direct      … over the database itself (place, direct_policies)        translate   model -> messages
connect     which database that is

server                                     serve, version, configtest, health, generate, completion
users, auth_keys, api_keys, nodes, logins, policy   headscale's commands
tailnets, clusters, databases              ours
"""

from headscale_saas.cli.app import main

__all__ = ["main"]
