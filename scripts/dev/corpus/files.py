"""Ways of breaking a file."""

MB = 1 << 20


def changed(content, *places):
    """A copy with bytes replaced: `(offset, bytes)`."""
    copy = bytearray(content)
    for offset, replacement in places:
        copy[offset : offset + len(replacement)] = replacement
    return bytes(copy)


def cut(name, content, *lengths):
    """Copies cut to these lengths, by name."""
    stem, ending = name.split(".", 1)
    return {f"{stem}-{length}.{ending}": content[:length] for length in lengths}
