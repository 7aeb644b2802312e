"""Recorded answers of the Tailscale control plane to policy files, and how ours are compared with them.

cases        the folder of recordings, and the tailnet that a recording was made in
areas        what is compared: one generator of faults per area
forms        both sides in one form
client       what a client does with a packet filter, written from the client's side
wrong_cases  recordings that cannot be right, with reasons
summary      the line at the end of a run
"""
