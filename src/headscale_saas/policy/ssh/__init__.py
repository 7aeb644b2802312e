"""Who may log in at a node by Tailscale SSH.

rules     the file's rules, ready for any state; what a node needs to stand in for them
sources   who the sources of each rule are at one state
plans     rules that do the same for the same sources, joined
policies  what kinds of nodes are told: implements Compiled.ssh_policy
actions   what a rule does, in wire form
printed   what a node is told as the real service writes it
"""
