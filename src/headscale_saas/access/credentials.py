"""Auth keys, API keys and login ids: how they are made, read and compared.

    hskey-auth-<12 prefix>-<64 secret>     hskey-api-<12 prefix>-<64 secret>     hskey-authreq-<24>

The alphabet is URL-safe base64, so a secret has 384 bits and a login id 144; a fast hash (SHA-256) is
therefore enough at rest. The prefix is public: keys are found by it and listed with it. No credential
contains "--TL", where clients cut off a tailnet-lock signature, and none is compared but in constant time.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from enum import StrEnum

import msgspec

from headscale_saas.errors import Invalid

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
PREFIX_LENGTH = 12
SECRET_LENGTH = 64
LOGIN_LENGTH = 24
LOGIN_START = "hskey-authreq-"

_LOGIN = re.compile(r"hskey-authreq-[A-Za-z0-9_-]{24}", re.ASCII)
_LOGIN_URL = re.compile(r"[^?#]{0,2000}/(hskey-authreq-[A-Za-z0-9_-]{24})", re.ASCII)

RandomText = Callable[[int], str]
"""So many characters of ALPHABET, each at random."""


class KeyKind(StrEnum):
    AUTH = "hskey-auth-"
    API = "hskey-api-"


class Credential(msgspec.Struct, frozen=True):
    """A key as its holder has it. Its `repr` does not show the secret."""

    kind: KeyKind
    prefix: str
    secret: str

    @property
    def text(self) -> str:
        """The whole key: for the one who asked for it, once."""
        return f"{self.kind.value}{self.prefix}-{self.secret}"

    @property
    def secret_hash(self) -> bytes:
        return hash_of(self.secret)

    def __repr__(self) -> str:
        return f"Credential({masked(self.kind, self.prefix)})"


def random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_key(kind: KeyKind, random: RandomText = random_text) -> Credential:
    """The prefix has no hyphen or underscore at its ends: people copy it by double click."""
    while True:
        made = Credential(kind, random(PREFIX_LENGTH), random(SECRET_LENGTH))
        if "--TL" not in made.text and made.prefix[0].isalnum() and made.prefix[-1].isalnum():
            return made


def read_key(kind: KeyKind, text: str) -> Credential | None:
    """Reads a key; None if it is not one of this kind. Does not say whether it is genuine."""
    body = text.removeprefix(kind.value)
    if len(text) != len(kind.value) + PREFIX_LENGTH + 1 + SECRET_LENGTH or len(body) == len(text):
        return None
    prefix, hyphen, secret = body[:PREFIX_LENGTH], body[PREFIX_LENGTH], body[PREFIX_LENGTH + 1 :]
    if hyphen != "-" or not set(prefix + secret) <= set(ALPHABET):
        return None
    return Credential(kind, prefix, secret)


def masked(kind: KeyKind, prefix: str) -> str:
    """A key as lists show it."""
    return f"{kind.value}{prefix}-***"


def hash_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def is_genuine(credential: Credential, secret_hash: bytes | None) -> bool:
    """Whether this is the secret of the key with that prefix; None (no such key) costs the same."""
    expected = bytes(32) if secret_hash is None else secret_hash
    return hmac.compare_digest(credential.secret_hash, expected) and secret_hash is not None


def new_login_id(random: RandomText = random_text) -> str:
    while True:
        made = LOGIN_START + random(LOGIN_LENGTH)
        if "--TL" not in made:
            return made


def read_login_id(text: str) -> str:
    """A login id as a person or an API call gives it. Raises Invalid."""
    if not _LOGIN.fullmatch(text):
        raise Invalid(
            "invalid auth_id: it begins with hskey-authreq-, as the login page shows it", field="auth_id"
        )
    return text


def login_id_in(url: str) -> str | None:
    """The login id at the end of an AuthURL of ours, whatever host and path it was given under."""
    match = _LOGIN_URL.fullmatch(url)
    return match.group(1) if match else None
