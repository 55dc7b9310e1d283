"""The bytes that client and origin agree on without telling each other."""
import hashlib


def body(seed: str, size: int) -> bytes:
    """`size` bytes that look random and are the same for the same seed in every run."""
    out = bytearray()
    block = hashlib.sha256(seed.encode()).digest()
    # A fresh block for every 16 KB is enough to notice a lost, doubled or swapped piece, and cheap.
    while len(out) < size:
        block = hashlib.sha256(block).digest()
        for i in range(512):
            out += block[i % 32:] + block[: i % 32]
    return bytes(out[:size])


def size_of(connection: int, turn: int, largest: int) -> int:
    """From one byte to `largest`, over several decades: small ones share a segment, big ones need many reads."""
    return 1 + (connection * 7919 + turn * 104729 + connection * turn * 31) % (largest >> ((connection + turn) % 4 * 3))
