"""A policy's own tests, run against the nodes there are.

policy_tests  `tests`
ssh_tests     `sshTests`
tested        what they have in common: words, budget, failures
"""
