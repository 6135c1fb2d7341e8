"""HTTP/2 on the wire (RFC 9113, RFC 7541): frames, field compression, and what one connection may do when.

Nothing here does I/O or knows of requests' routes. `session` puts the parts together for the server's side; the parts
themselves serve either side:

    faults     what ends a connection, and its codes
    frames     the layout of frames
    huffman    strings, compressed
    hpack      field sections, compressed: tables, `Decoder`, `Encoder`
    windows    flow control
    streams    the states of one stream
    floods     how much of what costs a client nothing is too much
    head       requests and responses as field sections
"""
