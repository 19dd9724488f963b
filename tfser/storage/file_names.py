"""File names that are not UTF-8, such as those of old archives, in files and messages that are."""

import logging
import os
import re

log = logging.getLogger("tfser")


def escape(text: str) -> str:
    r"""Return a name from the disk as valid Unicode, with \xNN for each byte that is not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def unescape(text: str) -> str:
    r"""Return the name on the disk that `escape` has written with \xNN."""
    content = re.sub(
        rb"\\x([89a-f][0-9a-f])",
        lambda match: bytes.fromhex(match[1].decode()),
        text.encode("utf-8", "surrogateescape"),
    )
    return os.fsdecode(content)


def is_utf8(text: str) -> bool:
    """Return true if a name from the disk is UTF-8."""
    return escape(text) == text


def warn_of_escapes(first: str) -> None:
    """Log how names that are not UTF-8 are written, with the first of them."""
    log.warning(r"the name of %s is not UTF-8: results have \xNN for each such byte of a name",
                escape(first))  # fmt: skip
