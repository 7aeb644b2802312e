"""What nodes talk to.

public     the plain HTTP half: /key, /health, /version, the login page
machine    the half inside Noise: which path goes to whom, and how errors are told to clients
register   POST /machine/register
map        POST /machine/map: the long poll, lite updates, single fetches
arrivals   nodes that registered here just now, whom no cache has yet
fetches    whole netmaps outside the long poll, in turns
side       the small endpoints: pings, health reports, features that a plain tailnet does not have
pages      the HTML that a person sees while logging in
"""
