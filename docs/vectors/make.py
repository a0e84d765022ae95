"""Makes the test vectors of tickets and upload tokens, with Python's `cryptography` and nothing of Waybill.

    python3 docs/vectors/make.py           writes tickets.json and upload-tokens.json beside itself
    python3 docs/vectors/make.py --check   compares them with what it would write, and opens from-waybill.json

Every key, time and nonce is fixed: the same vectors come out each time. The keys are for tests only.
"""

import base64
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = Path(__file__).parent
KEY = bytes(range(32))
IV = bytes(range(100, 116))
KID = "itk_0123456789abcdef01"
SITE = "files.acme.example"
NOW = "2026-03-04T05:06:07Z"
NOW_SECONDS = 1772600767
STAMP = "03/04/2026 05:06:07"
SESSION = "wbs_0000000000000000000000000000000000000000000example"


def cbc(plain: bytes, pad: bool = True) -> bytes:
    if pad:
        padder = padding.PKCS7(128).padder()
        plain = padder.update(plain) + padder.finalize()
    encryptor = Cipher(algorithms.AES(KEY), modes.CBC(IV)).encryptor()
    return encryptor.update(plain) + encryptor.finalize()


def text(plain: bytes, pad: bool = True) -> str:
    return base64.b64encode(cbc(plain, pad)).decode()


def url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwe(claims: dict, number: int, key: bytes = KEY, kid: str = KID, **header: str) -> str:
    """Compact serialisation by RFC 7516, direct encryption: the encrypted key is empty."""
    protected = url(json.dumps({"alg": "dir", "enc": "A256GCM", "kid": kid, **header}, separators=(",", ":")).encode())
    nonce = bytes([number]) * 12
    sealed = AESGCM(key).encrypt(nonce, json.dumps(claims, separators=(",", ":")).encode(), protected.encode())
    return ".".join([protected, "", url(nonce), url(sealed[:-16]), url(sealed[-16:])])


def xml(user: str = "ACME\\jane", site: str = SITE, stamp: str = STAMP) -> str:
    return f'<token timestamp="{stamp}"><sitename>{site}</sitename><username>{user}</username></token>'


def ticket(name: str, plain: str, user: str | None) -> dict:
    return {"name": name, "plaintext": plain, "text": text(plain.encode()), "userName": user}


def tickets() -> dict:
    claims = {"jti": "0d9a1f6e-0001", "aud": f"waybill/{SITE}", "exp": NOW_SECONDS + 300, "sub": "ACME\\jane"}
    good = text(xml().encode())
    padded = xml().encode() + b"\x05" * 4 + b"\x04" * (16 - (len(xml()) + 4) % 16)
    return {
        **common(),
        "version1": [
            ticket("as Waybill writes it", xml(), "jane"),
            ticket("as the document shows it", f'<token timestamp="{STAMP}">\n<sitename>{SITE}</sitename>\n<username> ACME\\jane</username>\n</token>\n', "jane"),
            ticket("without a domain", xml("jane"), "jane"),
            ticket("of the site in other letters", xml(site=SITE.upper()), "jane"),
            ticket("with entities", xml("R&amp;D\\o&apos;hara"), "o'hara"),
            ticket("beyond ASCII", xml("ACME\\zoë"), "zoë"),
            ticket("five minutes old", xml(stamp="03/04/2026 05:01:07"), "jane"),
            ticket("of another site", xml(site="files.other.example"), None),
            ticket("a second too old", xml(stamp="03/04/2026 05:01:06"), None),
            ticket("of tomorrow", xml(stamp="03/05/2026 05:06:07"), None),
            ticket("in ISO time", xml(stamp=NOW), None),
            ticket("with a document type", "<!DOCTYPE token>" + xml(), None),
            ticket("with an entity of its own", xml("ACME\\&jane;"), None),
            ticket("with two roots", xml() + xml(), None),
            {"name": "with wrong padding", "plaintext": None, "text": text(padded, pad=False), "userName": None},
            {"name": "in Latin-1", "plaintext": None, "text": text(xml("ACME\\zoë").encode("latin-1")), "userName": None},
            {"name": "cut by a block", "plaintext": None, "text": base64.b64encode(base64.b64decode(good)[:-16]).decode(), "userName": None},
        ],
        "version2": [
            {"name": "good", "claims": claims, "text": jwe(claims, 1), "userName": "jane"},
            sealed("over", {**claims, "exp": NOW_SECONDS}, 2),
            sealed("of an hour", {**claims, "exp": NOW_SECONDS + 3600}, 3),
            sealed("for another site", {**claims, "aud": "waybill/files.other.example"}, 4),
            sealed("without an identifier", {name: value for name, value in claims.items() if name != "jti"}, 5),
            sealed("with a claim more", {**claims, "role": "owner"}, 6),
            sealed("under another key", claims, 7, key=bytes(32)),
            sealed("under the name of another key", claims, 8, kid="itk_ffffffffffffffffff"),
            sealed("with a header more", claims, 9, cty="JWT"),
        ],
    }


def sealed(name: str, claims: dict, number: int, **how) -> dict:
    return {"name": name, "claims": claims, "text": jwe(claims, number, **how), "userName": None}


def upload_tokens() -> dict:
    content = {"folderId": "1056", "email": "jane@acme.example", "ip": "203.0.113.9", "session": SESSION}
    claims = {"jti": "0d9a1f6e-0002", "aud": f"waybill/{SITE}", "exp": NOW_SECONDS + 300, **content}

    def token(name: str, good: bool, **changes) -> dict:
        fields = {"Version": "1", "FolderID": "1056", "Email": "jane@acme.example", "AllowedIP": "203.0.113.9", "TimeStamp": STAMP, "Session": SESSION, **changes}
        plain = json.dumps({key: value for key, value in fields.items() if value is not None}, separators=(",", ":"))
        return {"name": name, "plaintext": plain, "text": text(plain.encode()), "content": content if good else None}

    return {
        **common(),
        "version1": [
            token("as Waybill writes it", True),
            token("with numbers", True, Version=1, FolderID=1056),
            token("in twelve hours", True, TimeStamp="03/04/2026 5:06 AM"),
            token("of another version", False, Version="2"),
            token("with a key more", False, Role="owner"),
            token("with a key less", False, Email=None),
            token("of yesterday", False, TimeStamp="03/03/2026 05:06:07"),
            token("in ISO time", False, TimeStamp=NOW),
            token("with a path for a folder", False, FolderID="../1056"),
        ],
        "version2": [
            {"name": "good", "claims": claims, "text": jwe(claims, 21), "content": content},
            {"name": "a ticket", "claims": None, "text": jwe({"jti": "1", "aud": f"waybill/{SITE}", "exp": NOW_SECONDS + 300, "sub": "jane"}, 22), "content": None},
        ],
    }


def common() -> dict:
    return {
        "madeBy": "docs/vectors/make.py, with Python's cryptography",
        "now": NOW,
        "site": SITE,
        "kid": KID,
        "keyBase64": base64.b64encode(KEY).decode(),
        "ivBase64": base64.b64encode(IV).decode(),
    }


def open_ours() -> None:
    """What Waybill made under the same key: it opens here, and says what it should."""
    made = json.loads((HERE / "from-waybill.json").read_text())
    for vector in made["version1"]:
        unpadder = padding.PKCS7(128).unpadder()
        decryptor = Cipher(algorithms.AES(KEY), modes.CBC(IV)).decryptor()
        plain = decryptor.update(base64.b64decode(vector["text"], validate=True)) + decryptor.finalize()
        assert (unpadder.update(plain) + unpadder.finalize()).decode() == vector["plaintext"], vector["name"]
    for vector in made["version2"]:
        protected, empty, nonce, body, tag = vector["text"].split(".")
        raw = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in (protected, nonce, body, tag)]
        assert empty == "" and json.loads(raw[0]) == {"alg": "dir", "enc": "A256GCM", "kid": KID}, vector["name"]
        claims = json.loads(AESGCM(KEY).decrypt(raw[1], raw[2] + raw[3], protected.encode()))
        assert claims == vector["claims"], vector["name"]


def main() -> None:
    for name, vectors in [("tickets.json", tickets()), ("upload-tokens.json", upload_tokens())]:
        made = json.dumps(vectors, indent=2, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv:
            (HERE / name).write_text(made)
        elif json.loads((HERE / name).read_text()) != vectors:
            sys.exit(f"{name} is not what this makes")
    if "--check" in sys.argv:
        open_ours()


main()
