"""May this one reach that one, and why: what people ask of a policy, one pair at a time.

connections  whether an address may open a port at a node, asked of the clauses
questions    one clause, asked about one pair of ends
parties      the ends as people name them: nodes, users, tags, addresses behind a router
explain      the answer, with the rules that decide or what is missing
verdicts     the answer's form
"""
