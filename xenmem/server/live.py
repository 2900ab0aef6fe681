"""The paths of the live page over HTTP, for every server that shows it. Knows no login."""

from typing import Final

from xenmem.page.live import UPDATE, WHAT_IF, Live, Reply
from xenmem.server.http import Answer, Request

PATHS: Final = frozenset({("GET", ""), ("GET", "/"), ("GET", f"/{UPDATE}"), ("POST", f"/{WHAT_IF}")})
"""Methods and paths that are the page's own."""

_HEADERS: Final = ("X-Content-Type-Options: nosniff", "X-Frame-Options: DENY", "Referrer-Policy: no-referrer")


async def answer(live: Live, request: Request, *headers: str) -> Answer:
    """The answer to a request for one of PATHS.

    Parameters
    ----------
    headers : more of the answer
    """
    reply = await _reply(live, request)
    return Answer(reply.status, reply.content_type, reply.body, (*_HEADERS, *headers), compressible=True)


async def _reply(live: Live, request: Request) -> Reply:
    if request.method == "POST":
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # which no page of another origin sends unasked
            return Reply(400, "application/json", b'{"error":"the question is not application/json"}')
        return await live.what_if(request.body)
    if request.path.endswith(UPDATE):
        return await live.update(request.query)
    return await live.page()
