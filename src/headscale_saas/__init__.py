"""Headscale SaaS: a Tailscale control plane as a service.

The layers, from the bottom up (imports point downwards only, `tests/rules` enforces it):

0 words      `errors`, `tailcfg`
1 pure       `wire`, `tailnet`, `policy`, `netmap`
2 storage    `clock`, `observe`, `store`
3 behaviour  `access`, `actions`, `live`
4 doors      `transport`, `control`
5 programs   `config`, `serve`, `postgres`, `swarm`, `cli`
"""
