"""The transport's numbers, and where each comes from.  Times are seconds, sizes bytes."""

from typing import Final

# The largest messages are one chunk of ciphertexts (default 512 of 768 bytes at 3072 bits: 393,216),
# one OPRF batch (4,096 elements of 32 bytes: 131,072, and a signature a trustee), one round of a circuit
# (65,536 people: 524,288) and 32,768 pseudonyms of 32 bytes: 1 MiB.  Twice the largest leaves room for
# what surrounds the payload, and no more than that can a peer make us hold for one message.
MESSAGE_BYTES: Final = 2 * 1024 * 1024

# Messages that wait in one direction of a work stream before the producer does: one in the making while
# one is on its way.  Behind them HTTP/2's window holds the peer, so a stream holds a few MiB at most.
QUEUED_MESSAGES: Final = 2

# A peer's machine that is lost, or a line that is dead, is noticed after at most these two together, "within
# seconds": gRPC makes the second one TCP_USER_TIMEOUT, for which what was sent may stay unacknowledged.  A killed
# process is noticed at once, since its kernel closes the connection.
KEEPALIVE_TIME: Final = 5.0
KEEPALIVE_TIMEOUT: Final = 5.0

# A process that hangs, or something between us that takes everything and passes nothing on, is noticed when a
# ping is not answered in so long.  The answer queues behind what the peer is sending (two messages, 2 MiB), so a
# shorter time would end every connection that is busy over a line of a few Mbit/s: this one lets 1 Mbit/s live.
PING_ANSWER: Final = 30.0

# A peer whose connection lives but that takes nothing off the stream.  The slowest honest consumer needs
# seconds a message (a recipient opens a chunk of 31,232 people in under one); a minute is a peer that
# hangs.
STALL: Final = 60.0

# A contributor whose chunks have to wait until slower ones have sent theirs: as long as a job may take, since a
# dead coordinator is noticed by keepalive and a failed job breaks the stream off.
TURN: Final = 24 * 3600.0

# A peer whose connection lives and that says nothing although it is its turn.  The longest honest silence is a
# department that reads its tables (five million rows of MariaDB: five minutes) or evaluates a policy over them.
SILENCE: Final = 3600.0

# TCP and TLS together.  A listener that accepts and says nothing would otherwise hold a call for the 20
# (client) or 120 (server) seconds that gRPC allows by default.
CONNECT: Final = 5.0

# Between attempts to reach a peer that does not listen (yet): from the first to the last.  A node that was
# restarted is found again within a second.
FIRST_RETRY: Final = 0.1
LAST_RETRY: Final = 1.0

# One request, one answer: nothing that takes long is a unary call.
CALL: Final = 10.0

# Between the request to stop and the cut: a few chunks, and less than the 10 seconds that container
# managers wait before they kill.
GRACE: Final = 8.0

# A service that is told to read its files anew finishes what runs: a linkage or the circuits of a large job take
# this long, and an operator who changed a file wants it in force today.
RELOAD_WAIT: Final = 30 * 60.0

# One thread a call, made when it is needed; beyond that many at once, calls are refused with
# RESOURCE_EXHAUSTED instead of waiting unseen.  Twice what one member may hold, so that no member can take them all.
WORKERS: Final = 256

# Calls that one member may hold at one server.  The most that an honest one does are 16 jobs at once (the largest
# `jobs_at_once`) with five work streams each, and as many that end.  Calls a second are not counted: to refuse one
# costs as much as to answer, and what one costs at most is bounded where it is read (sizes of messages and policies).
CALLS_A_MEMBER: Final = 128

# A coordinator holds more for each member: a node that dials out has its Attach (two while it reconnects) and at
# most three work streams of a linkage or job (its own, the keys', a trustee's), and streams that end meanwhile.
WORKERS_A_MEMBER: Final = 8

# What one party tells another about an error is one line of at most this many characters: gRPC carries
# it percent-encoded (nine bytes a Chinese character) in trailers of at most 8 KiB.
PUBLIC_TEXT: Final = 400


def grpc_options() -> list[tuple[str, int]]:
    """Return the channel arguments that both ends of a connection use."""
    return [
        # No compression (bit 0: as it is): ciphertexts do not shrink, and what does could inflate at the receiver.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", milliseconds(KEEPALIVE_TIME)),
        ("grpc.keepalive_timeout_ms", milliseconds(KEEPALIVE_TIMEOUT)),
        ("grpc.http2.ping_timeout_ms", milliseconds(PING_ANSWER)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),  # no limit: a node that waits for work is idle for days
    ]


def milliseconds(seconds: float) -> int:
    """Return seconds in gRPC's unit."""
    return round(seconds * 1000)
