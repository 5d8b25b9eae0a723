"""`If-None-Match`: whether the client has what would be sent."""


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Tell whether `If-None-Match` names this tag; proxies may have made it a weak one."""
    return etag in [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
