"""Messages that no honest party sends, made from the protos' descriptors and from recorded honest ones.

Everything is drawn from one ``random.Random``: the same seed gives the same messages.
"""

from collections.abc import Sequence
from random import Random

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

DEEPEST = 5  # nested messages
MANY = 3000  # parts of a repeated field that is a flood

_WHOLE = {
    FieldDescriptor.TYPE_UINT32: (0, 1, 2, 7, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 1, 7, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1),
    FieldDescriptor.TYPE_INT64: (0, 1, -1, 2**62, 2**63 - 1, -(2**63)),
    FieldDescriptor.TYPE_INT32: (0, 1, -1, 2**31 - 1, -(2**31)),
    FieldDescriptor.TYPE_ENUM: (0, 1, 2, 3, 99, -1, 2**31 - 1),
    FieldDescriptor.TYPE_BOOL: (False, True),
}
_FRACTIONS = (0.0, -1.0, 0.5, 1e308, -1e308, float("inf"), float("-inf"), float("nan"), 5e-324)
_LENGTHS = (0, 1, 3, 4, 8, 31, 32, 33, 63, 64, 65, 96, 103, 104, 105, 255, 256, 257, 511, 512, 513, 4096)
_TEXTS = (
    "",
    " ",
    "\0",
    "\n",
    "a" * 65,
    "a" * 20_000,
    "f" * 32,
    "0" * 64,
    "../../../etc/passwd",
    "'; DROP TABLE jobs; --",
    "%s%n{}{0.__class__}",
    "\u202e\u200b\ufeff",
    "\x1b[2J\x07",
    "税务局" * 30,
    "e\u0301" * 50,
    "2025-12-31",
    "0000-00-00",
    "9" * 5000,
    "NaN",
    "\U0010ffff",
    "<script>alert(1)</script>",
    "__proto__",
)
_DOCUMENTS = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"[" * 5000,
    b'{"a":' * 3000,
    b"9" * 5000,
    b"-1e99999",
    b'"\\ud800"',
    b'{"draft":{},"keys":[]}',
    b'{"epoch":1}',
    b"policy: a\nrecipient: social\nconditions: {a: {department: tax, where: 'v_tax < 1'}}\n",
    b"policy: a\nrecipient: social\nconditions: {a: {department: tax, where: 'v_tax < '}}\n",
    b"a: &a [*a]\n",
    b"policy: " + b"[" * 2000,
    b"\xff\xfe\x00",
    b"PK\x03\x04" + bytes(60),
    b"-----BEGIN CERTIFICATE-----\n",
)


class Hostile:
    """Draws hostile messages.  ``known`` is what a clever attacker has seen: names, digests, whole documents."""

    def __init__(self, random: Random, *, words: Sequence[str] = (), documents: Sequence[bytes] = ()) -> None:
        self.random = random
        self._words = tuple(words)
        self._documents = tuple(documents)

    def message(self, descriptor: Descriptor, depth: int = 0) -> Message:
        """A message of valid shape with hostile values; of a oneof at most one field."""
        message = GetMessageClass(descriptor)()
        alone = {self.random.choice(oneof.fields).name for oneof in descriptor.oneofs}
        for field in descriptor.fields:
            if field.containing_oneof is not None and field.name not in alone:
                continue
            if field.containing_oneof is not None or self.random.random() < 0.8:
                self._set(message, field, depth)
        return message

    def of_body(self, descriptor: Descriptor, body: str) -> Message:
        """A message of valid shape whose ``body`` is this one, with hostile values."""
        message = GetMessageClass(descriptor)()
        field = descriptor.fields_by_name[body]
        getattr(message, body).CopyFrom(self.message(field.message_type, 1))
        return message

    def swapped(self, message: Message) -> Message:
        """The message with one field, maybe of a part of it, replaced by a hostile value."""
        changed = type(message).FromString(message.SerializeToString())
        at = changed
        while True:
            present = [(field, value) for field, value in at.ListFields() if _is_one_message(field)]
            if not present or self.random.random() < 0.3:
                break
            at = self.random.choice(present)[1]
        field = self.random.choice(at.DESCRIPTOR.fields) if at.DESCRIPTOR.fields else None
        if field is not None:
            at.ClearField(field.name)
            if self.random.random() < 0.9:
                self._set(at, field, 1)
        return changed

    def changed(self, data: bytes) -> bytes:
        """Bytes with one or a few of: a bit turned, a byte set, a part cut, repeated, moved or put in."""
        work = bytearray(data)
        for _ in range(self.random.choice((1, 1, 1, 2, 5))):
            at = self.random.randrange(len(work) + 1)
            end = min(len(work), at + self.random.choice((1, 2, 8, 64)))
            match self.random.randrange(7):
                case 0 if at < len(work):
                    work[at] ^= 1 << self.random.randrange(8)
                case 1 if at < len(work):
                    work[at] = self.random.choice((0, 1, 0x7F, 0x80, 0xFF))
                case 2:
                    del work[at:end]
                case 3:
                    work[at:at] = work[at:end]
                case 4:
                    work[at:at] = self.random.randbytes(self.random.choice((1, 2, 16)))
                case 5:
                    del work[at:]
                case _:
                    work.extend(self.random.randbytes(3))
        return bytes(work)

    def changed_message(self, message: Message) -> Message | None:
        """The message whose bytes were changed; None where they parse no longer."""
        try:
            return type(message).FromString(self.changed(message.SerializeToString()))
        except DecodeError:
            return None

    def _set(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        if field.is_repeated:
            self._fill(message, field, depth)
        elif field.message_type is not None:
            if depth < DEEPEST:
                getattr(message, field.name).CopyFrom(self.message(field.message_type, depth + 1))
        else:
            setattr(message, field.name, self._value(field))

    def _fill(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        parts = getattr(message, field.name)
        count = self.random.choice((0, 1, 1, 2, 3, 65, MANY if depth < 2 else 8))
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            for number in range(min(count, 100)):
                key = self._value(kind.fields_by_name["key"])
                parts[key + str(number)] = self._value(kind.fields_by_name["value"])
        elif kind is not None:
            one = self.message(kind, depth + 1)
            parts.extend([one] * count)
        else:
            parts.extend([self._value(field)] * count)

    def _value(self, field: FieldDescriptor) -> object:
        if field.type == FieldDescriptor.TYPE_STRING:
            return self.random.choice(self._words + _TEXTS)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self._bytes()
        if field.type == FieldDescriptor.TYPE_DOUBLE:
            return self.random.choice(_FRACTIONS)
        return self.random.choice(_WHOLE[field.type])

    def _bytes(self) -> bytes:
        length = self.random.choice(_LENGTHS)
        match self.random.randrange(5):
            case 0:
                return bytes(length)
            case 1:
                return self.random.randbytes(length)
            case 2:
                return b"\xff" * length
            case 3 if self._documents:
                document = self.random.choice(self._documents)
                return document if self.random.random() < 0.5 else self.changed(document)
            case _:
                return self.random.choice(_DOCUMENTS)


def _is_one_message(field: FieldDescriptor) -> bool:
    return field.message_type is not None and not field.is_repeated
