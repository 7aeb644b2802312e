"""The client's wire vocabulary (`tailcfg/*.go` of the Tailscale client), one file per message family.

codec     bytes <-> Structs, with the habits of Go's encoding/json; limits against hostile input
keys      the key types and their text forms
capver    the capability versions we branch on
hostinfo  what a client says of itself, and what of it is kept
register  POST /machine/register
maps      POST /machine/map: MapRequest, MapResponse and its deltas
node      the wire Node and UserProfile
filters   packet filter rules and capability grants
dns       DNSConfig
derpmap   DERPMap
ssh       SSHPolicy
control   /key, the early payload, pings and the small endpoints

Attributes are snake_case; the wire names are Go's. A field that has its default is not written
(`omitempty`), unless the Struct says that all its members are always written.
"""
