"""Sockets, TLS, the HTTP/1.1 edge, and HTTP/2 inside Noise.

edge        one listener for everything: ordinary requests go to an ASGI app, upgrades leave HTTP
heads       what is wrong with a header block
server      the edge on bound sockets: start, adopt, drain
upgrades    `/ts2021` by POST and by WebSocket; the form of any other path that leaves HTTP (a relay)
websocket   a transport that carries the Noise bytes in binary messages
connection  one Noise connection: handshake, records, back-pressure
session     HTTP/2 on it: requests in
outbound    answers out: the hot path, and queues that wait for windows or the socket
streams     the seam to `control`: Request, Stream, Handler
http2       `h2` with our limits, in less memory
windows     DATA frames past `h2.send_data`, with its flow windows
frames      cutting and counting frames before `h2` sees them
fair        work in slices, round-robin by lane, mostly a tailnet (also for `live`)
gate        how many connections of one origin are at work before we know who calls
line        whose turn it is where many wait
sweep       deadlines without a timer each
bodies      memory of request bodies until their handlers have finished, by origin and of all
limits      every size, time and count
addresses   trusted proxies, origins
tls         what we offer where we encrypt ourselves, and the name a client asked for
hellos      accepting and counting those that are in the midst of their TLS handshake

The seam. `control` gives the edge one `Handler = Callable[[Request], Awaitable[None]]`. It is called as a
task of its own when the whole body is there; it answers through `request.stream` and returns. If the client
resets the stream, or the connection dies, before the handler has answered, the task is cancelled. A handler
that returns without an answer, or raises, is answered for with a 500.

A map stream keeps no task: after `stream.start(200, {})` the handler returns, and whoever holds the stream
writes to it later, from the loop's thread:

* `write(data)` takes the whole of `data` or nothing of it. True: it is sent or queued, and will arrive in
  order unless the stream closes. False: the stream is closed, or its queue is not empty and `data` does not
  fit the bound; then the holder should remember that it "needs full" and wait for `on_writable`.
* An empty queue takes a write of any size (a full netmap) and 64 KiB more behind it; it drains as windows
  and socket allow.
* `writable`: the queue is empty. `on_writable()` is called when the queue has become empty.
* `closed`, and `on_close()`: called once, when nothing more can be written, whoever ended the stream. After
  it the stream calls nothing any more. What either callback raises is logged and goes no further.
* `end()` ends the body after what is queued; `reset()` drops the queue and tells the client that it failed.
"""
