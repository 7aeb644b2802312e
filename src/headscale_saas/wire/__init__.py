"""Bytes <-> events. No socket, no clock, no randomness: keys and ephemerals are arguments.

noise     the handshake of `/ts2021`, both halves
records   the encrypted records that follow it
early     what the server may say before HTTP/2 starts
mapframe  messages inside the body of a map poll, and their compression
"""
