"""Official Tailscale clients against our servers, in network namespaces with no way out.

lab.py       namespaces, the wire between them, and the watcher that counts what tries to leave
leakwatch.py what runs on the lab's way out
names.py     the lab's DNS resolver: knows no name, and remembers who asked for what
wait.py      wait for a condition, all at once, with a deadline
client.py    one official client: daemon and CLI
service.py   PostgreSQL, our processes for two clusters, relay, HAProxy and nginx
scenario.py  tailnets full of clients, and what "they all reach each other" means
talk.py      a TCP server, one question to it, and a knock that never tires
reach.py     whether one machine reaches another by TCP, and since when
conftest.py  what is needed to run, one lab for the run, and a picture of everything on failure
"""
